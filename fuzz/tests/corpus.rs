//! Every committed input, and mutations of them from a fixed seed, through every target.

use bellbird_fuzz::{Engine, Failure, INPUT_BYTES_MAX, TARGETS, corpus_dir, load};

/// A test for each target, of its name.
macro_rules! each_holds {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                holds_on_its_corpus_and_near_it(stringify!($name));
            }
        )+

        const TESTED: &[&str] = &[$(stringify!($name)),+];
    };
}

each_holds! {
    proxy_header websocket_stream
    connect_round_trip
    client_packet_round_trip
    server_packet_round_trip
    stream_segmentation
    topic_name_validity
    filter_matching
    index_matching
    retained_walks
    node_scripts
    record_round_trip
    segments_of_any_bytes
    damage_is_told
    start_from_any_records
    password_file
    acl_file
    configuration_file
    configuration_environment
    configuration_reload
    control_answer
}

fn holds_on_its_corpus_and_near_it(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("it is a target");
    let inputs = load(&corpus_dir().join(name)).expect("it can be read");
    assert!(!inputs.is_empty() && inputs.len() <= FILES_MAX, "{} files", inputs.len());
    for (file, input) in &inputs {
        assert!(input.len() <= INPUT_BYTES_MAX, "{file} is too long");
    }
    let files: Vec<String> = inputs.iter().map(|(file, _)| file.clone()).collect();
    let inputs = inputs.into_iter().map(|(_, input)| input).collect();
    let mut engine = Engine::new(*target, inputs, SEED);
    let outcome =
        engine.replay().and_then(|()| (0..MUTATIONS).try_for_each(|_| engine.step().map(|_| ())));
    if let Err(Failure { input, message }) = outcome {
        let dir = corpus_dir().join(name);
        let is_it = |file: &&String| std::fs::read(dir.join(file)).is_ok_and(|it| it == input);
        let file = files.iter().find(is_it).map_or("a mutation", String::as_str);
        panic!("{file}: {message}\n{input:02x?}");
    }
}

#[test]
fn all_targets_are_tested_and_no_corpus_is_without() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    for entry in std::fs::read_dir(corpus_dir()).expect("there are corpora") {
        let name = entry.expect("it can be listed").file_name();
        assert!(names.iter().any(|known| **known == *name), "{name:?} belongs to no target");
    }
}

const MUTATIONS: usize = 2000;
const SEED: u64 = 7;
const FILES_MAX: usize = 100;

//! `bellbird passwd`: users in a password file.

use std::error::Error;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write, stdin};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use bellbird_access::{Format, PasswordHash, check_name, with_user, without_user};
use clap::{Args, ValueEnum};

/// Gives a user a password, or takes the user out.
#[derive(Args, Debug)]
#[command(override_usage = "bellbird passwd [OPTIONS] <FILE> <NAME>")]
pub(crate) struct Arguments {
    /// The password file; it is created if need be, readable for you only
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The user
    #[arg(value_name = "NAME")]
    name: String,
    /// Take the user out of the file
    #[arg(long, short = 'D', conflicts_with_all = ["password_stdin", "format"])]
    delete: bool,
    /// Read the password from standard input, one line, instead of asking for it
    #[arg(long)]
    password_stdin: bool,
    /// What to write: Mosquitto reads argon2id from its version 2.1 on
    #[arg(long, value_enum, default_value_t)]
    format: FormatName,
}

/// [`Format`] as it is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum FormatName {
    #[default]
    Argon2id,
    Mosquitto,
}

/// Writes the file anew and puts it in the place of the old one.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { file, name, .. } = arguments;
    check_name(name)?;
    // The file that a link leads to, not the link, is replaced.
    let path = fs::canonicalize(file).unwrap_or_else(|_| file.clone());
    let old = read(&path).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let text = old.as_deref().unwrap_or_default();
    let new = if arguments.delete {
        if old.is_none() {
            return Err(format!("there is no file {}: nothing to delete", file.display()).into());
        }
        without_user(text, name)
            .ok_or_else(|| format!("{} has no user {name:?}", file.display()))?
    } else {
        let password = if arguments.password_stdin { from_stdin()? } else { from_terminal()? };
        if password.is_empty() {
            return Err("the password is empty: give one".into());
        }
        with_user(text, name, &PasswordHash::new(&password, arguments.format.into())?)
    };
    replace(&path, &new).map_err(|error| format!("cannot write {}: {error}", file.display()).into())
}

/// None if there is no such file.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn from_stdin() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut password = Vec::new();
    stdin().lock().take(PASSWORD_BYTES_MAX + 3).read_to_end(&mut password)?;
    if password.ends_with(b"\n") {
        password.pop();
        if password.ends_with(b"\r") {
            password.pop();
        }
    }
    if password.contains(&b'\n') {
        return Err("standard input has more than one line: give the password alone".into());
    }
    if password.len() as u64 > PASSWORD_BYTES_MAX {
        return Err("the password is longer than 65535 bytes, which no client could say".into());
    }
    Ok(password)
}

/// Asks twice, without echo.
fn from_terminal() -> Result<Vec<u8>, Box<dyn Error>> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|error| {
            format!("there is no terminal to ask for the password ({error}): use --password-stdin")
        })
    };
    let password = ask("Password: ")?;
    if ask("Once more: ")? != password {
        return Err("the two passwords are not the same: nothing was changed".into());
    }
    Ok(password.into_bytes())
}

/// Either the old or the new file is there at any time. The new one has the old one's owner and
/// permissions, or is for its owner only.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let file = file.map_err(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return error;
        }
        let explanation = format!(
            "{} is there: another `bellbird passwd` is at work, or was killed; in that case \
             remove it",
            new.display()
        );
        io::Error::new(error.kind(), explanation)
    })?;
    fill(file, path, text).and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
        // What went wrong is told; that the attempt cannot be removed either adds nothing.
        let _removed = fs::remove_file(&new);
    })?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn fill(mut file: File, old: &Path, text: &str) -> io::Result<()> {
    if let Ok(metadata) = fs::metadata(old) {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
            fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Argon2id => Self::Argon2id,
            FormatName::Mosquitto => Self::Mosquitto,
        }
    }
}

/// What the two bytes of a password's length in CONNECT can say.
const PASSWORD_BYTES_MAX: u64 = 65_535;

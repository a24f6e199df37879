//! The routes of both doors.
//!
//! Handlers ask the shards and wait for them on this thread: one request at a time.

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use bellbird_core::Storage;
use bellbird_server::{Control, Depth, Trouble};
use serde::{Deserialize, Serialize};

use crate::clients::{ClientPage, parse_bookmark};
use crate::metrics;
use crate::status::StatusReport;

/// What the port offers: nothing that changes anything, and no client's name.
pub(crate) fn watching(control: Control) -> Router {
    explained(watched(control))
}

/// What the control socket offers besides.
pub(crate) fn commands(control: Control) -> Router {
    let commands = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/clients", get(clients))
        .route("/v1/clients/{id}", delete(kick))
        .route("/v1/sessions/{id}", delete(end_session))
        .with_state(control.clone());
    explained(commands.merge(watched(control)))
}

fn watched(control: Control) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .with_state(control)
}

/// What is not offered is refused in the words in which everything is.
fn explained(routes: Router) -> Router {
    routes
        .method_not_allowed_fallback(async || Failure::NoMethod)
        .fallback(async || Failure::NoRoute)
}

async fn health(State(control): State<Control>) -> Result<&'static str, Failure> {
    control.check()?;
    Ok("ok\n")
}

/// Listeners accept before this thread starts, so whoever serves is ready.
async fn ready(State(control): State<Control>) -> Result<&'static str, Failure> {
    control.check()?;
    Ok(match control.storage() {
        Storage::Full => "ready, but the disk is full: messages that must be stored are refused\n",
        Storage::Ready | Storage::Failed => "ready\n",
    })
}

async fn scrape(State(control): State<Control>) -> Result<Response, Failure> {
    let status = control.status(Depth::Sessions)?;
    let is_healthy = control.check().is_ok();
    let headers = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
    Ok((headers, metrics::page(&status, is_healthy)).into_response())
}

async fn status(State(control): State<Control>) -> Result<Line<StatusReport>, Failure> {
    let status = control.status(Depth::Sessions)?;
    let trouble = control.check().err();
    Ok(Line(StatusReport::of(&status, trouble)))
}

#[derive(Deserialize)]
struct Wanted {
    after: Option<String>,
    limit: Option<usize>,
}

async fn clients(
    State(control): State<Control>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Line<ClientPage>, Failure> {
    let Query(wanted) = wanted.map_err(|_| Failure::Query)?;
    let from = match &wanted.after {
        Some(text) => parse_bookmark(text).ok_or(Failure::Bookmark)?,
        None => bellbird_server::Bookmark::default(),
    };
    let limit = wanted.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let (clients, next) = control.clients(from, limit)?;
    Ok(Line(ClientPage::of(&clients, next)))
}

async fn kick(
    State(control): State<Control>,
    client_id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<StatusCode, Failure> {
    let client_id = named(client_id, &uri)?;
    if control.kick(&client_id)? { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::NoClient) }
}

async fn end_session(
    State(control): State<Control>,
    client_id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<StatusCode, Failure> {
    let client_id = named(client_id, &uri)?;
    match control.end_session(&client_id)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Failure::NoSession),
    }
}

/// The client identifier of a path. A percent sign that begins no byte would pass for itself.
fn named(client_id: Result<Path<String>, PathRejection>, uri: &Uri) -> Result<String, Failure> {
    let Path(client_id) = client_id.map_err(|_| Failure::Name)?;
    let is_byte = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if uri.path().split('%').skip(1).all(is_byte) { Ok(client_id) } else { Err(Failure::Name) }
}

/// JSON that ends its line: for those who ask from a shell.
struct Line<T>(T);

impl<T: Serialize> IntoResponse for Line<T> {
    fn into_response(self) -> Response {
        let Self(value) = self;
        let mut text = match serde_json::to_string(&value) {
            Ok(text) => text,
            Err(error) => {
                return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
            }
        };
        text.push('\n');
        ([(header::CONTENT_TYPE, "application/json")], text).into_response()
    }
}

/// Why a request is not answered as it wants.
enum Failure {
    Trouble(Trouble),
    Bookmark,
    Query,
    Name,
    NoClient,
    NoSession,
    NoRoute,
    NoMethod,
}

#[derive(Serialize)]
struct Explanation {
    error: String,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (code, error) = match self {
            Self::Trouble(trouble) => (StatusCode::SERVICE_UNAVAILABLE, trouble.to_string()),
            Self::Bookmark => (
                StatusCode::BAD_REQUEST,
                "after is not what an earlier answer gave as next: leave it out to begin".into(),
            ),
            Self::Query => (
                StatusCode::BAD_REQUEST,
                "the query is not understood: limit is a number, after is what an earlier answer \
                 gave as next, and each stands there once at most"
                    .into(),
            ),
            Self::Name => (
                StatusCode::BAD_REQUEST,
                "a client identifier is UTF-8, percent-encoded: this is not".into(),
            ),
            Self::NoClient => (StatusCode::NOT_FOUND, "no such client is connected".into()),
            Self::NoSession => (StatusCode::NOT_FOUND, "no such client has a session".into()),
            Self::NoRoute => (
                StatusCode::NOT_FOUND,
                "there is nothing here: docs/metrics.md lists what each door offers".into(),
            ),
            Self::NoMethod => {
                (StatusCode::METHOD_NOT_ALLOWED, "this is offered, but not by this method".into())
            }
        };
        (code, Line(Explanation { error })).into_response()
    }
}

/// Clients in an answer that says no limit.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

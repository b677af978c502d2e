//! Answers, good and bad.

use std::collections::BTreeMap;

use proxmox::exchange::Response;
use serde_json::{Value, json};

/// A refusal in the node's words.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: u16,
    message: String,
    errors: Option<BTreeMap<String, String>>,
}

impl ApiError {
    /// 500: what PVE's `die` becomes.
    pub(crate) fn die(message: impl Into<String>) -> Self {
        Self { status: 500, message: message.into(), errors: None }
    }

    /// 400 with what is wrong with each parameter.
    pub(crate) fn parameters(errors: BTreeMap<String, String>) -> Self {
        Self { status: 400, message: "Parameter verification failed.".to_owned(), errors: Some(errors) }
    }

    /// 400 for one parameter.
    pub(crate) fn parameter(name: &str, error: impl Into<String>) -> Self {
        Self::parameters(BTreeMap::from([(name.to_owned(), error.into())]))
    }

    /// 403, with what was missing in brackets.
    pub(crate) fn forbidden(what: impl AsRef<str>) -> Self {
        let message = match what.as_ref() {
            "" => "Permission check failed".to_owned(),
            what => format!("Permission check failed ({what})"),
        };
        Self { status: 403, message, errors: None }
    }

    /// 401: the body is empty, only the reason speaks.
    pub(crate) fn unauthorized(reason: &str) -> Self {
        Self { status: 401, message: reason.to_owned(), errors: None }
    }

    /// 501: no such call.
    pub(crate) fn not_implemented(method: impl std::fmt::Display, path: &str) -> Self {
        Self { status: 501, message: format!("Method '{method} {path}' not implemented"), errors: None }
    }

    /// A refusal of this node's own, that no real one gives.
    pub(crate) fn refused(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: None }
    }

    pub(crate) fn into_response(self) -> Response {
        let reason = self.message.replace('\n', " ");
        let body = match (self.status, self.errors) {
            (401, _) => Value::Null,
            (501, _) => json!({"data": null, "message": self.message}),
            (_, Some(errors)) => {
                json!({"data": null, "message": format!("{}\n", self.message), "errors": errors})
            }
            (_, None) => json!({"data": null, "message": format!("{}\n", self.message)}),
        };
        Response { status: self.status, reason, body }
    }
}

/// A good answer: its data, and the number of all entries where the data is one page of a list.
#[derive(Debug)]
pub(crate) struct Answer {
    pub data: Value,
    pub total: Option<usize>,
}

impl From<Value> for Answer {
    fn from(data: Value) -> Self {
        Self { data, total: None }
    }
}

impl Answer {
    /// Done, nothing to say.
    pub(crate) fn null() -> Self {
        Value::Null.into()
    }

    pub(crate) fn into_response(self) -> Response {
        let mut body = serde_json::Map::new();
        body.insert("data".to_owned(), self.data);
        if let Some(total) = self.total {
            body.insert("total".to_owned(), total.into());
        }
        Response { status: 200, reason: "OK".to_owned(), body: Value::Object(body) }
    }
}

/// What a call comes to.
pub(crate) type Outcome = Result<Answer, ApiError>;

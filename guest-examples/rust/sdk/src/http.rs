//! Calling other services, as far as the rule grants host, method and path; fails with
//! `http-not-configured` while none is granted.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, ErrorKind, bindings::triggerbox::automation::http as host};

pub use host::{Request, Response};

impl Request {
    /// A request with any method, upper case.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// Reads.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Writes.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// With a header; a content type comes in place of another.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let header = (name.into(), value.into());
        if is_content_type(&header) {
            self.headers.retain(|other| !is_content_type(other));
        }
        self.headers.push(header);
        self
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With a JSON body, and its content type unless there is one.
    pub fn json<T: Serialize>(self, body: &T) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(bad_json)?;
        let typed = self.headers.iter().any(is_content_type);
        let request = if typed { self } else { self.header("content-type", "application/json") };
        Ok(request.body(body))
    }

    /// Sends. Any status is an answer; see [`Response::ok`].
    pub fn send(&self) -> Result<Response, Error> {
        host::send(self)
    }
}

impl Response {
    /// Fails with `http-status` unless the status is 200 to 299.
    pub fn ok(self) -> Result<Self, Error> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let message = format!("the service answered {}", self.status);
        Err(Error::new(ErrorKind::Unavailable, "http-status", message))
    }

    /// A header's value; `name` in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as data.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(bad_json)
    }
}

fn is_content_type((name, _): &(String, String)) -> bool {
    name.eq_ignore_ascii_case("content-type")
}

fn bad_json(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, "bad-json", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_content_type_and_the_script_s_wins() {
        let types = |request: Request| -> Vec<String> {
            request.headers.into_iter().filter(is_content_type).map(|(_, value)| value).collect()
        };
        let post = || Request::post("https://example.com/").header("accept", "text/plain");
        assert_eq!(types(post().json(&[1]).unwrap()), ["application/json"]);
        let own = "application/vnd.api+json";
        assert_eq!(types(post().header("Content-Type", own).json(&[1]).unwrap()), [own]);
        assert_eq!(types(post().json(&[1]).unwrap().header("Content-Type", own)), [own]);
        assert_eq!(post().json(&[1]).unwrap().headers.len(), 2, "other headers stay");
    }
}

//! What stands behind the question mark.

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::serve::error::Error;

/// Query parameters as a `T`; what cannot be one is the caller's mistake.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = Query::try_from_uri(&parts.uri);
        let Query(params) = query.map_err(|error| Error::bad_request(error.body_text()))?;
        Ok(Self(params))
    }
}

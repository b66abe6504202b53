//! Compressed JSON, as the tables keep reports, logs, journals and change sets.

use serde::{Serialize, de::DeserializeOwned};
use triggerbox_store::db::DbError;

use crate::error::EngineError;

/// Fast, and small enough: most of what is kept is never read again.
const LEVEL: i32 = 1;

/// A packed value is at most this long when it is unpacked: a damaged one must not fill the memory.
const LONGEST: usize = 512 << 20;

pub(crate) fn pack(value: &impl Serialize) -> Result<Vec<u8>, EngineError> {
    let json = serde_json::to_vec(value)?;
    zstd::bulk::compress(&json, LEVEL).map_err(|error| EngineError::Database(error.into()))
}

pub(crate) fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, EngineError> {
    let damaged = |error: std::io::Error| DbError::Corrupt { why: format!("a packed value: {error}") };
    let json = zstd::bulk::decompress(packed, bound(packed)).map_err(damaged)?;
    Ok(serde_json::from_slice(&json)?)
}

fn bound(packed: &[u8]) -> usize {
    let size =
        zstd::zstd_safe::get_frame_content_size(packed).ok().flatten().and_then(|size| usize::try_from(size).ok());
    size.unwrap_or(LONGEST).min(LONGEST)
}

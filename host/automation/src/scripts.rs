//! Scripts of this server: their versions, which one is active, and which one each rule runs.
//!
//! | module | what it holds |
//! |---|---|
//! | [`registry`] | versions by content, the active one, its history |
//! | [`upload`] | a file that becomes a version: looked into before anything is stored |
//! | [`binding`] | the version that each part of a rule runs, and when it moves |
//! | [`asks`] | what an action asks for |
//! | [`ready`] | the scripts that come with the program |

pub mod asks;
pub mod binding;
pub mod ready;
pub mod registry;
pub mod upload;

pub use self::{
    registry::{RegistryError, ScriptVersion},
    upload::{Upload, UploadError},
};

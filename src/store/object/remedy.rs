//! What to do when an object store refuses.
//!
//! Owns: the words. Does not own: which store it is; its settings are named by `location`.

use std::error::Error as StdError;

use object_store::Error as StoreError;

/// What the user can do about `error`; `settings` are those of the store.
pub(super) fn of(error: &StoreError, settings: &str) -> String {
    match error {
        StoreError::NotFound { .. } => format!("check that the bucket, container or name node exists, and its region ({settings})"),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => format!(
            "check the credentials ({settings}); they must allow to read, write, list and delete here \
             (without the right to list, some stores forbid to read what does not exist)"
        ),
        StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } => {
            "this store cannot make an object only if there is none, without which exactly-once is not possible; \
             if conditional writes were switched off by a setting (AWS_CONDITIONAL_PUT), remove it, else use another store"
                .to_owned()
        }
        _ => format!("check the endpoint, the region, the credentials and the network ({settings}), then start again"),
    }
}

/// The error with those of its causes that it does not already tell.
pub(super) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

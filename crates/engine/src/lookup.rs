//! From what a user typed to the object meant: any id prefix, or a name
//! exactly. What could mean two objects is an error that lists them.

use std::sync::Arc;

use kleene_model::{Container, ExecId, Execution, Image, Nametag, Network, Refusal};

use crate::state::State;

/// Finds a network.
///
/// # Errors
/// [`Refusal::NetworkNotFound`], [`Refusal::Ambiguous`].
pub(crate) fn network<'a>(state: &'a State, ident: &str) -> Result<&'a Arc<Network>, Refusal> {
    let named = state.network_named(ident);
    let begins = state.networks().filter(|n| n.id.starts_with(ident));
    one("network", ident, named, begins, |n| n.id.to_string())?.ok_or(Refusal::NetworkNotFound)
}

/// Finds a container.
///
/// # Errors
/// [`Refusal::ContainerNotFound`], [`Refusal::Ambiguous`].
pub(crate) fn container<'a>(state: &'a State, ident: &str) -> Result<&'a Arc<Container>, Refusal> {
    if let Some(exact) =
        kleene_model::ContainerId::parse(ident).ok().and_then(|id| state.container(id))
        && state.container_named(ident).is_none()
    {
        return Ok(exact);
    }
    let named = state.container_named(ident);
    let begins = state.containers().filter(|c| c.id.starts_with(ident));
    one("container", ident, named, begins, |c| c.id.to_string())?.ok_or(Refusal::ContainerNotFound)
}

/// Finds an execution; its whole id is needed.
///
/// # Errors
/// [`Refusal::ExecNotFound`].
pub(crate) fn execution<'a>(state: &'a State, ident: &str) -> Result<&'a Arc<Execution>, Refusal> {
    ExecId::parse(ident)
        .ok()
        .and_then(|id| state.execution(id))
        .ok_or_else(|| Refusal::ExecNotFound { ident: ident.to_owned() })
}

/// Finds an image.
///
/// # Errors
/// [`Refusal::ImageNotFound`], [`Refusal::Ambiguous`].
pub(crate) fn image<'a>(state: &'a State, reference: &str) -> Result<&'a Arc<Image>, Refusal> {
    // What cannot be a name is the name of none.
    let nametag = Nametag::parse(reference).ok().flatten();
    let named = nametag.and_then(|nametag| state.image_called(&nametag));
    let begins = state.images().filter(|image| image.id.starts_with(reference));
    one("image", reference, named, begins, |image| image.id.to_string())?
        .ok_or(Refusal::ImageNotFound)
}

fn one<'a, T>(
    what: &'static str,
    ident: &str,
    named: Option<&'a Arc<T>>,
    begins: impl Iterator<Item = &'a Arc<T>>,
    id: impl Fn(&T) -> String,
) -> Result<Option<&'a Arc<T>>, Refusal> {
    if ident.is_empty() {
        return Ok(None);
    }
    let others = begins.filter(|other| named.is_none_or(|named| !Arc::ptr_eq(named, other)));
    let found: Vec<&Arc<T>> = named.into_iter().chain(others).collect();
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        several => Err(Refusal::Ambiguous {
            what,
            ident: ident.to_owned(),
            candidates: several.iter().map(|object| id(object)).collect(),
        }),
    }
}

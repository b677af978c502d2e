//! The node's API, as far as it is known what each of its calls takes of a token.

use async_trait::async_trait;
use managers::privileges;
use proxmox::exchange::{Attached, Exchange, ExchangeError, Request, Response};

/// Passes calls on, and panics at one of a kind that [`privileges::CALLS`] does not have: a token of what that table says would
/// be refused it.
#[derive(Debug)]
pub struct Known<T>(pub T);

fn look(request: &Request) {
    let (method, path) = (request.method, &request.path);
    assert!(
        privileges::kind_of(method, path).is_some(),
        "what does {method} {path} take of a token? It is not in managers::privileges::CALLS"
    );
}

#[async_trait]
impl<T: Exchange> Exchange for Known<T> {
    async fn exchange(&self, request: &Request) -> Result<Response, ExchangeError> {
        look(request);
        self.0.exchange(request).await
    }

    async fn fresh(&self, request: &Request) -> Result<Response, ExchangeError> {
        look(request);
        self.0.fresh(request).await
    }

    async fn upload(&self, request: &Request, file: &Attached) -> Result<Response, ExchangeError> {
        look(request);
        self.0.upload(request, file).await
    }

    fn endpoint(&self) -> String {
        self.0.endpoint()
    }
}

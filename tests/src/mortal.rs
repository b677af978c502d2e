//! A way to the node that dies with the program that uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apply::{Event, Sink};
use async_trait::async_trait;
use proxmox::exchange::{Attached, Exchange, ExchangeError, Request, Response};
use tokio_util::sync::CancellationToken;
use transport::{Command, Error, Held, Output, Runner, Stream};

/// Counts a run's events and dies at one of them. What is reached through [`Mortal`] then never answers again, so that
/// nothing is done after that event, as after a SIGKILL.
#[derive(Debug, Clone, Default)]
pub struct Life {
    at: Option<usize>,
    events: Arc<AtomicUsize>,
    over: CancellationToken,
}

impl Life {
    /// One that ends at the `at`-th event (from 1), or not at all.
    pub fn until(at: Option<usize>) -> Self {
        Self { at, ..Self::default() }
    }

    /// Returns when it is over.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }
}

impl Sink for Life {
    fn take(&self, _: &Event) {
        let n = self.events.fetch_add(1, Ordering::SeqCst) + 1;
        if self.at == Some(n) {
            self.over.cancel();
        }
    }
}

/// Something to reach the node with, for as long as a `Life` lasts.
#[derive(Debug)]
pub struct Mortal<T> {
    inner: T,
    life: Life,
}

impl<T> Mortal<T> {
    /// `inner`, for as long as `life` lasts.
    pub fn new(inner: T, life: Life) -> Self {
        Self { inner, life }
    }

    async fn alive(&self) {
        if self.life.over.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl<T: Exchange> Exchange for Mortal<T> {
    async fn exchange(&self, request: &Request) -> Result<Response, ExchangeError> {
        self.alive().await;
        self.inner.exchange(request).await
    }

    async fn fresh(&self, request: &Request) -> Result<Response, ExchangeError> {
        self.alive().await;
        self.inner.fresh(request).await
    }

    async fn upload(&self, request: &Request, file: &Attached) -> Result<Response, ExchangeError> {
        self.alive().await;
        self.inner.upload(request, file).await
    }

    fn endpoint(&self) -> String {
        self.inner.endpoint()
    }
}

#[async_trait]
impl<T: Runner> Runner for Mortal<T> {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        self.alive().await;
        self.inner.run_lines(command, line).await
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        self.alive().await;
        self.inner.hold(command).await
    }

    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
        self.inner.connect(host, port, limit).await
    }

    async fn fresh(&self) -> Result<(), Error> {
        self.alive().await;
        self.inner.fresh().await
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

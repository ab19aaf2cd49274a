//! What netavark and its proxy send each other: messages of package `netavark_proxy`, whose field numbers are the contract,
//! and the three calls of its service, as gRPC.

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use linkspan_model::Mac;
use serde::{Deserialize, Serialize};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::lease::Lease;

/// An interface that wants a lease.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, prost::Message)]
#[serde(default)]
pub struct NetworkConfig {
    /// The bridge, or the device that the interface sits on.
    #[prost(string, tag = "1")]
    pub host_iface: String,
    /// The interface.
    #[prost(string, tag = "2")]
    pub container_iface: String,
    /// Its MAC.
    #[prost(string, tag = "3")]
    pub container_mac_addr: String,
    /// A domain that goes before the server's.
    #[prost(string, tag = "4")]
    pub domain_name: String,
    /// The container's host name.
    #[prost(string, tag = "5")]
    pub host_name: String,
    /// The version of IP: 0 for 4, 1 for 6.
    #[prost(int32, tag = "6")]
    pub version: i32,
    /// The file that its namespace is known by.
    #[prost(string, tag = "7")]
    pub ns_path: String,
    /// The container's identity.
    #[prost(string, tag = "8")]
    pub container_id: String,
}

/// A lease. What is not known is empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, prost::Message)]
#[serde(default)]
pub struct LeaseMessage {
    /// After how many seconds it is renewed.
    #[prost(uint32, tag = "1")]
    pub t1: u32,
    /// After how many seconds any server is asked.
    #[prost(uint32, tag = "2")]
    pub t2: u32,
    /// For how many seconds it is.
    #[prost(uint32, tag = "3")]
    pub lease_time: u32,
    /// The MTU in bytes.
    #[prost(uint32, tag = "4")]
    pub mtu: u32,
    /// The domain to look names up in.
    #[prost(string, tag = "5")]
    pub domain_name: String,
    /// The MAC of the interface.
    #[prost(string, tag = "6")]
    pub mac_address: String,
    /// Whether it is of IPv6: never.
    #[prost(bool, tag = "10")]
    pub is_v6: bool,
    /// The next server to boot from.
    #[prost(string, tag = "11")]
    pub siaddr: String,
    /// The address.
    #[prost(string, tag = "12")]
    pub yiaddr: String,
    /// The server.
    #[prost(string, tag = "16")]
    pub srv_id: String,
    /// The mask of its subnet.
    #[prost(string, tag = "17")]
    pub subnet_mask: String,
    /// The broadcast address.
    #[prost(string, tag = "18")]
    pub broadcast_addr: String,
    /// Name servers.
    #[prost(string, repeated, tag = "19")]
    pub dns_servers: Vec<String>,
    /// Routers.
    #[prost(string, repeated, tag = "20")]
    pub gateways: Vec<String>,
    /// Time servers.
    #[prost(string, repeated, tag = "21")]
    pub ntp_servers: Vec<String>,
    /// The host name.
    #[prost(string, tag = "22")]
    pub host_name: String,
}

/// Nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Empty {}

/// Whether it was done.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OperationResponse {
    /// Whether it was.
    #[prost(bool, tag = "1")]
    pub success: bool,
}

impl LeaseMessage {
    /// The message for the lease of an interface.
    pub fn new(lease: &Lease, mac: Mac, domain: &str) -> Self {
        let texts = |addresses: &[Ipv4Addr]| addresses.iter().map(ToString::to_string).collect();
        let own = Some(domain).filter(|domain| !domain.is_empty()).map(str::to_owned);
        Self {
            t1: lease.renewal,
            t2: lease.rebinding,
            lease_time: lease.seconds,
            mtu: lease.mtu.unwrap_or_default().into(),
            domain_name: own.or_else(|| lease.domain.clone()).unwrap_or_default(),
            mac_address: mac.to_string(),
            is_v6: false,
            siaddr: lease.next_server.to_string(),
            yiaddr: lease.address.addr().to_string(),
            srv_id: lease.server.to_string(),
            subnet_mask: lease.address.netmask().to_string(),
            broadcast_addr: lease.broadcast.map(|address| address.to_string()).unwrap_or_default(),
            dns_servers: texts(&lease.dns),
            gateways: texts(&lease.routers),
            ntp_servers: texts(&lease.ntp),
            host_name: lease.host_name.clone().unwrap_or_default(),
        }
    }
}

/// The paths of the calls.
pub mod path {
    /// Gets a lease and keeps it.
    pub const SETUP: &str = "/netavark_proxy.NetavarkProxy/Setup";
    /// Gives it back.
    pub const TEARDOWN: &str = "/netavark_proxy.NetavarkProxy/Teardown";
    /// Forgets all leases.
    pub const CLEAN: &str = "/netavark_proxy.NetavarkProxy/Clean";
}

/// What is to come.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the calls do. A call whose caller goes away is dropped where it waits.
pub trait Calls: Send + Sync + 'static {
    /// Gets a lease for an interface, gives the interface its address, and keeps it.
    fn setup(self: Arc<Self>, config: NetworkConfig) -> Pending<Result<LeaseMessage, Status>>;
    /// Gives it back; an empty lease if there is none.
    fn teardown(self: Arc<Self>, config: NetworkConfig) -> Pending<Result<LeaseMessage, Status>>;
    /// Forgets all leases.
    fn clean(self: Arc<Self>) -> Pending<Result<OperationResponse, Status>>;
}

/// The service over HTTP/2.
#[derive(Debug)]
pub struct Proxy<C>(Arc<C>);

impl<C> Proxy<C> {
    /// The service that does `calls`.
    pub const fn new(calls: Arc<C>) -> Self {
        Self(calls)
    }
}

impl<C> Clone for Proxy<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// One call as the library wants it.
struct Unary<C, M, A> {
    calls: Arc<C>,
    work: fn(Arc<C>, M) -> Pending<Result<A, Status>>,
}

impl<C, M, A: 'static> UnaryService<M> for Unary<C, M, A> {
    type Response = A;
    type Future = Pending<Result<Response<A>, Status>>;

    fn call(&mut self, request: Request<M>) -> Self::Future {
        let answer = (self.work)(Arc::clone(&self.calls), request.into_inner());
        Box::pin(async { answer.await.map(Response::new) })
    }
}

impl<C: Calls> Service<http::Request<Body>> for Proxy<C> {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pending<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let calls = Arc::clone(&self.0);
        Box::pin(async move { Ok(answer(calls, request).await) })
    }
}

async fn answer<C: Calls>(calls: Arc<C>, request: http::Request<Body>) -> http::Response<Body> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        path::SETUP => Grpc::new(ProstCodec::default()).unary(Unary { calls, work: C::setup }, request).await,
        path::TEARDOWN => {
            Grpc::new(ProstCodec::default()).unary(Unary { calls, work: C::teardown }, request).await
        }
        path::CLEAN => {
            let work = |calls: Arc<C>, Empty {}| calls.clean();
            Grpc::new(ProstCodec::default()).unary(Unary { calls, work }, request).await
        }
        other => Status::unimplemented(format!("there is no call {other}")).into_http(),
    }
}

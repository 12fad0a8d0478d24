//! The HTTP edge at a port that strangers reach: pages of other origins, OPTIONS, limits of one address, proxies.

mod addresses;
mod cors;
mod forwarded;
mod options;
mod proxy_protocol;

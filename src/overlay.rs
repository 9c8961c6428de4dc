//! What Pingora wants to know of a stream that lies over another: whatever the one below says.

/// Implements for `$over` all that Pingora asks of a stream besides its bytes, its end and its preface, by asking the
/// stream that `$below` names.
macro_rules! overlay {
    ($over:ty, |$this:ident| $below:expr) => {
        impl pingora::protocols::UniqueID for $over {
            fn id(&self) -> pingora::protocols::UniqueIDType {
                let $this = self;
                $below.id()
            }
        }

        impl pingora::protocols::Ssl for $over {
            fn get_ssl(&self) -> Option<&pingora::protocols::tls::TlsRef> {
                let $this = self;
                $below.get_ssl()
            }

            fn get_ssl_digest(&self) -> Option<std::sync::Arc<pingora::protocols::tls::SslDigest>> {
                let $this = self;
                $below.get_ssl_digest()
            }

            fn selected_alpn_proto(&self) -> Option<pingora::protocols::ALPN> {
                let $this = self;
                $below.selected_alpn_proto()
            }
        }

        impl pingora::protocols::GetTimingDigest for $over {
            fn get_timing_digest(&self) -> Vec<Option<pingora::protocols::TimingDigest>> {
                let $this = self;
                $below.get_timing_digest()
            }

            fn get_read_pending_time(&self) -> std::time::Duration {
                let $this = self;
                $below.get_read_pending_time()
            }

            fn get_write_pending_time(&self) -> std::time::Duration {
                let $this = self;
                $below.get_write_pending_time()
            }
        }

        impl pingora::protocols::GetProxyDigest for $over {
            fn get_proxy_digest(
                &self,
            ) -> Option<std::sync::Arc<pingora::protocols::raw_connect::ProxyDigest>> {
                let $this = self;
                $below.get_proxy_digest()
            }
        }

        impl pingora::protocols::GetSocketDigest for $over {
            fn get_socket_digest(
                &self,
            ) -> Option<std::sync::Arc<pingora::protocols::SocketDigest>> {
                let $this = self;
                $below.get_socket_digest()
            }
        }
    };
}

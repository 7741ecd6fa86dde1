//! TLS connections to PostgreSQL and to Azure are verified, against impersonation of the server and
//! against eavesdropping.
//!
//! 0.0.0.0 connects to this machine but is not one of its local names, so lastlight treats it as a
//! remote host.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lastlight_engine::{
    config::{DatabaseSettings, Env, ServiceBusSettings, Settings, StorageSettings},
    store::{Database, DatabaseError},
    transport::{
        sender::{MessageSender, QueueRole, SendError},
        service_bus::create_service_bus_repository,
        storage_queue::create_queue_repository,
    },
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};
use url::Url;

use crate::harness::new_database_url;

/// A certificate authority that is trusted only if a setting names it.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The authority's certificate in a file, for `sslrootcert`.
    fn file(&self) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), self.0.pem()).unwrap();
        file
    }

    /// The server side of TLS, with a certificate for `name`.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Counts the handshakes that a client completed.
#[derive(Debug, Default, Clone)]
struct Handshakes(Arc<AtomicUsize>);

impl Handshakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A TLS proxy in front of the tests' PostgreSQL server. Returns its port.
async fn postgres_with_tls(server: &Url, acceptor: TlsAcceptor) -> (u16, Handshakes) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = format!("{}:{}", server.host_str().unwrap(), server.port().unwrap());
    let handshakes = Handshakes::default();
    let counted = handshakes.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (acceptor, behind, counted) = (acceptor.clone(), behind.clone(), counted.clone());
            tokio::spawn(async move {
                // Reads the SSLRequest; then the client begins its handshake.
                let mut request = [0; 8];
                client.read_exact(&mut request).await?;
                client.write_all(b"S").await?;
                let mut client = acceptor.accept(client).await?;
                // In TLS 1.3 a client that refuses the certificate reports it after the handshake:
                // count only clients that send data.
                let mut first = [0; 1];
                client.read_exact(&mut first).await?;
                counted.0.fetch_add(1, Ordering::SeqCst);
                let mut server = TcpStream::connect(behind).await?;
                server.write_all(&first).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (port, handshakes)
}

/// The settings of a database at `address`, which lastlight treats as remote.
fn settings(url: &Url, host: &str, port: u16, query: &str) -> DatabaseSettings {
    let mut url = url.clone();
    url.set_host(Some(host)).unwrap();
    url.set_port(Some(port)).unwrap();
    url.set_query((!query.is_empty()).then_some(query));
    let env =
        Env::from_pairs([("DATABASE_URL", url.as_str()), ("LASTLIGHT_DATABASE_WAIT_SECONDS", "5")]);
    Settings::load_database(env).unwrap().0
}

async fn migrated(settings: &DatabaseSettings) -> Result<(), DatabaseError> {
    let database = Database::new(settings);
    let migrated = database.migrate().await;
    database.close().await;
    migrated
}

#[tokio::test]
async fn a_remote_postgresql_without_tls_is_refused() {
    let url = Url::parse(&new_database_url().await).unwrap();
    let port = url.port().unwrap();
    let error = migrated(&settings(&url, "0.0.0.0", port, "")).await.unwrap_err();
    let words = error.to_string();
    assert!(
        matches!(error, DatabaseError::Unavailable { .. })
            && words.contains("server does not support TLS")
            && words.contains("sslmode"),
        "{words}"
    );
    // With a local name the same server needs no TLS; with an explicit sslmode neither does the
    // remote one.
    migrated(&settings(&url, "127.0.0.1", port, "")).await.unwrap();
    migrated(&settings(&url, "0.0.0.0", port, "sslmode=prefer")).await.unwrap();
}

#[tokio::test]
async fn a_remote_certificate_is_verified_before_use() {
    let url = Url::parse(&new_database_url().await).unwrap();
    let authority = Authority::new();
    let file = authority.file();
    let (port, handshakes) = postgres_with_tls(&url, authority.acceptor("0.0.0.0")).await;
    let query = format!("sslrootcert={}", file.path().display());
    migrated(&settings(&url, "0.0.0.0", port, &query)).await.unwrap();
    assert!(handshakes.count() > 0);
}

#[tokio::test]
async fn invalid_certificates_are_refused_at_once() {
    let url = Url::parse(&new_database_url().await).unwrap();
    let (authority, unknown) = (Authority::new(), Authority::new());
    let file = authority.file();
    let query = format!("sslrootcert={}", file.path().display());
    for (acceptor, query, words) in [
        (unknown.acceptor("0.0.0.0"), "", "UnknownIssuer"),
        (unknown.acceptor("0.0.0.0"), query.as_str(), "invalid peer certificate"),
        (authority.acceptor("db.example"), query.as_str(), "not valid for name"),
    ] {
        let (port, handshakes) = postgres_with_tls(&url, acceptor).await;
        let error = migrated(&settings(&url, "0.0.0.0", port, query)).await.unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, DatabaseError::Unavailable { .. }), "{error:?}");
        assert!(said.contains(words) && said.contains("sslrootcert"), "{words}: {said}");
        assert_eq!(handshakes.count(), 0, "something was said to it");
    }
}

#[tokio::test]
async fn a_weaker_sslmode_works_with_a_warning() {
    let mut url = Url::parse(&new_database_url().await).unwrap();
    url.set_host(Some("0.0.0.0")).unwrap();
    let mut migrate = |mode: &str| {
        url.set_query(Some(&format!("sslmode={mode}")));
        let output = Command::new(env!("CARGO_BIN_EXE_lastlight"))
            .arg("migrate")
            .env_clear()
            .env("DATABASE_URL", url.as_str())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for mode in ["disable", "allow", "prefer"] {
        let (works, words) = migrate(mode);
        assert!(works, "{mode}: {words}");
        assert!(
            words.contains("warning: DATABASE_URL: the database is on another machine")
                && words.contains("verify-full"),
            "{mode}: {words}"
        );
    }
    let (works, words) = migrate("require");
    assert!(!works && words.contains("warning: DATABASE_URL"), "{words}");
    let (works, words) = migrate("verify-full");
    assert!(!works && !words.contains("warning"), "{words}");
}

/// A server with this certificate that answers 200 to every client that accepts it.
async fn https(acceptor: TlsAcceptor) -> (SocketAddr, Handshakes) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handshakes = Handshakes::default();
    let counted = handshakes.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, counted) = (acceptor.clone(), counted.clone());
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut first = [0; 1];
                client.read_exact(&mut first).await?;
                counted.0.fetch_add(1, Ordering::SeqCst);
                client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
            });
        }
    });
    (address, handshakes)
}

#[tokio::test]
async fn an_untrusted_queue_service_gets_no_request() {
    let (address, handshakes) = https(Authority::new().acceptor("127.0.0.1")).await;
    let no_retries = [("SERVICE_BUS_RETRY_COUNT", "0"), ("STORAGE_QUEUE_RETRY_COUNT", "0")];
    let bus = format!("Endpoint=sb://{address};SharedAccessKeyName=n;SharedAccessKey=k");
    let mut env = Env::from_pairs(
        [("SERVICE_BUS_CONNECTION_STRING", bus.as_str())].into_iter().chain(no_retries),
    );
    let bus =
        create_service_bus_repository(ServiceBusSettings::from_env(&mut env).unwrap()).unwrap();
    let storage = format!("AccountName=geo;AccountKey=a2V5;QueueEndpoint=https://{address}/geo");
    let mut env =
        Env::from_pairs([("AzureWebJobsStorage", storage.as_str())].into_iter().chain(no_retries));
    let storage = create_queue_repository(StorageSettings::from_env(&mut env).unwrap()).unwrap();
    let senders: [Arc<dyn MessageSender>; 2] = [bus, storage];
    for sender in senders {
        let error = sender.probe(QueueRole::Tasks).await.unwrap_err();
        let SendError::Unavailable { detail } = &error else {
            panic!("{error:?}");
        };
        assert!(detail.contains("certificate"), "{detail}");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(handshakes.count(), 0, "a request was sent");
}

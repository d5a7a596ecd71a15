//! Two ends of a connection on loopback.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::link::Connection;
use crate::tls::tests::{HOST, both_sides};

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long what must not happen is waited for. Too short makes a test weaker, not wrong.
const MOMENT: Duration = Duration::from_millis(300);

fn with_alpn(alpn: &[&[u8]]) -> (Arc<rustls::ClientConfig>, Arc<rustls::ServerConfig>) {
    let (mut client, mut server) = both_sides();
    server.alpn_protocols = vec![ALPN_TCP.to_vec()];
    client.alpn_protocols = alpn.iter().map(|alpn| alpn.to_vec()).collect();
    (Arc::new(client), Arc::new(server))
}

/// An agent's end and a broker's, however that went.
async fn meet(alpn: &[&[u8]]) -> (Result<Connection, Closed>, Result<Connection, Closed>) {
    let (client, server) = with_alpn(alpn);
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let agent = Box::pin(async {
        let socket = TcpStream::connect(address).await.unwrap();
        connect(socket, client, HOST).await.map(Connection::from)
    });
    let broker = Box::pin(async {
        let (socket, _) = listener.accept().await.unwrap();
        accept(socket, server).await.map(Connection::from)
    });
    tokio::time::timeout(PATIENCE, async { tokio::join!(agent, broker) }).await.unwrap()
}

async fn pair() -> (Connection, Connection) {
    let (agent, broker) = meet(&[ALPN_TCP]).await;
    (agent.unwrap(), broker.unwrap())
}

async fn soon<T>(something: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, something).await.unwrap()
}

#[tokio::test]
async fn streams_of_every_kind_carry_bytes_to_their_end() {
    let (agent, broker) = pair().await;
    let (mut up, mut back) = soon(agent.open_bi()).await.unwrap();
    up.write_all(b"question").await.unwrap();
    up.finish().unwrap();
    assert!(up.finish().is_err(), "it has ended");
    let (mut answer, mut question) = soon(broker.accept_bi()).await.unwrap();
    let mut bytes = vec![];
    soon(question.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"question");
    answer.write_all(b"answer").await.unwrap();
    answer.finish().unwrap();
    bytes.clear();
    soon(back.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"answer");

    let mut up = soon(agent.open_uni()).await.unwrap();
    up.write_all(b"up").await.unwrap();
    up.finish().unwrap();
    let mut from = soon(broker.accept_uni()).await.unwrap();
    bytes.clear();
    soon(from.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"up");

    let mut from = soon(agent.accept_uni()).await.unwrap();
    let mut down = soon(broker.open_uni()).await.unwrap();
    down.write_all(b"down").await.unwrap();
    down.finish().unwrap();
    bytes.clear();
    soon(from.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"down");
    assert_eq!((agent.transport(), agent.peer_chain().len()), ("tcp", 1));
    assert_eq!(broker.peer_chain().len(), 1, "the certificate is asked for and kept");
}

#[tokio::test]
async fn a_refusals_number_arrives_also_at_an_agent_in_the_middle_of_writing() {
    let (agent, broker) = pair().await;
    let (mut up, _back) = soon(agent.open_bi()).await.unwrap();
    let writing = tokio::spawn(async move { while up.write_all(&[7; 10_000]).await.is_ok() {} });
    let (_answer, mut lane) = soon(broker.accept_bi()).await.unwrap();
    soon(lane.read_exact(&mut [0; 10_000])).await.unwrap();
    broker.close(Some(Refusal::PartnerRevoked));
    assert_eq!(broker.close_reason(), Some(Closed::Local));
    assert_eq!(soon(agent.closed()).await, Closed::Remote(Some(Refusal::PartnerRevoked)));
    assert!(soon(agent.open_bi()).await.is_err());
    soon(writing).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_leaves_is_noticed_however_it_leaves() {
    let (agent, broker) = pair().await;
    agent.close(None);
    assert_eq!(agent.close_reason(), Some(Closed::Local));
    assert_eq!(soon(broker.closed()).await, Closed::Remote(None));
    assert_eq!(soon(broker.accept_bi()).await.unwrap_err(), Closed::Remote(None));
    let (agent, broker) = pair().await;
    drop(agent);
    assert_eq!(soon(broker.closed()).await, Closed::Remote(None), "nobody holds it any more");
}

#[tokio::test]
async fn a_stream_that_is_let_go_ends_and_one_of_a_connection_that_closes_breaks() {
    let (agent, broker) = pair().await;
    let (mut up, _back) = soon(agent.open_bi()).await.unwrap();
    up.write_all(b"half").await.unwrap();
    let (_answer, mut from) = soon(broker.accept_bi()).await.unwrap();
    soon(from.read_exact(&mut [0; 4])).await.unwrap();
    drop(up);
    assert_eq!(soon(from.read(&mut [0; 4])).await.unwrap(), 0);
    let (mut up, _back) = soon(agent.open_bi()).await.unwrap();
    up.write_all(b"half").await.unwrap();
    let (_answer, mut from) = soon(broker.accept_bi()).await.unwrap();
    soon(from.read_exact(&mut [0; 4])).await.unwrap();
    agent.close(None);
    assert!(soon(from.read(&mut [0; 4])).await.is_err(), "not the end of the stream");
    drop(up);
}

#[tokio::test]
async fn what_is_not_read_is_not_taken_in() {
    let (agent, broker) = pair().await;
    let (mut up, _back) = soon(agent.open_bi()).await.unwrap();
    let size = usize::try_from(STREAM_WINDOW).unwrap();
    let whole = vec![1; size + 2_000_000];
    let writing = tokio::spawn(async move {
        up.write_all(&whole).await.unwrap();
        up.finish().unwrap();
    });
    let (_answer, mut from) = soon(broker.accept_bi()).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    assert!(!writing.is_finished(), "more than the window");
    let mut bytes = vec![];
    soon(from.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes.len(), size + 2_000_000);
    soon(writing).await.unwrap();
}

#[tokio::test]
async fn no_more_streams_than_allowed_are_open_at_a_time() {
    let (agent, broker) = pair().await;
    let most = STREAMS_MAX + UNI_STREAMS_MAX;
    let mut open = vec![];
    let mut taken = vec![];
    for _ in 0..STREAMS_MAX {
        let (mut up, back) = soon(agent.open_bi()).await.unwrap();
        up.write_all(b"x").await.unwrap();
        open.push((up, back));
        taken.push(soon(broker.accept_bi()).await.unwrap());
    }
    let mut ups = vec![];
    for _ in STREAMS_MAX..most {
        let mut up = soon(agent.open_uni()).await.unwrap();
        up.write_all(b"x").await.unwrap();
        ups.push((up, soon(broker.accept_uni()).await.unwrap()));
    }
    let next = {
        let agent = agent.clone();
        tokio::spawn(async move {
            let (mut up, back) = agent.open_bi().await.unwrap();
            up.write_all(b"x").await.unwrap();
            (up, back)
        })
    };
    let came = tokio::time::timeout(MOMENT, broker.accept_bi()).await;
    assert!(came.is_err(), "one too many");
    drop((open.pop(), taken.pop()));
    soon(broker.accept_bi()).await.unwrap();
    soon(next).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_opens_more_than_it_was_told_it_may_is_reset() {
    let (client, server) = with_alpn(&[ALPN_TCP]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broker = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        accept(socket, server).await.unwrap()
    });
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let mut tls = TlsConnector::from(client).connect(name, socket).await.unwrap();
    // RFC 9113: the preface, an empty SETTINGS, and 80 times HEADERS that open POST /stream and leave it open.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // HPACK: POST, https, path and authority as literals.
    let block = [&[0x83, 0x87, 0x04, 7][..], b"/stream", &[0x01, 1], b"x"].concat();
    for number in 0..80_u32 {
        bytes.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 4]);
        bytes.extend((number * 2 + 1).to_be_bytes());
        bytes.extend(&block);
    }
    tls.write_all(&bytes).await.unwrap();
    tls.flush().await.unwrap();
    let _broker = soon(broker).await.unwrap();
    let mut reset = 0;
    while reset < 80 - usize::try_from(STREAMS_MAX + UNI_STREAMS_MAX).unwrap() {
        let mut header = [0; 9];
        soon(tls.read_exact(&mut header)).await.unwrap();
        let mut payload = vec![0; usize::from(header[1]) * 256 + usize::from(header[2])];
        soon(tls.read_exact(&mut payload)).await.unwrap();
        // RST_STREAM with REFUSED_STREAM.
        reset += usize::from(header[3] == 3 && payload == [0, 0, 0, 7]);
    }
}

#[tokio::test]
async fn only_this_protocol_gets_in() {
    for alpn in [&[][..], &[&b"seinhuis/1"[..]], &[&b"h2"[..]], &[&b"http/1.1"[..], b"seinhuis-tcp/2"]] {
        let (agent, broker) = meet(alpn).await;
        assert!(broker.is_err(), "{alpn:?}");
        assert!(agent.is_err(), "{alpn:?}");
    }
}

#[tokio::test]
async fn what_is_no_tls_is_no_connection() {
    let (_, server) = with_alpn(&[ALPN_TCP]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 600], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(said).await.unwrap();
        socket.shutdown().await.unwrap();
        let (there, _) = listener.accept().await.unwrap();
        assert!(soon(Box::pin(accept(there, Arc::clone(&server)))).await.is_err(), "{said:?}");
    }
}

#[tokio::test]
async fn a_stream_for_nothing_is_reset_and_the_rest_goes_on() {
    let (agent, broker) = pair().await;
    let Connection::Tcp(tcp) = &agent else { panic!("another transport") };
    let (_, response) = soon(tcp.ask(Method::GET, "/elsewhere", true)).await.unwrap();
    assert!(soon(response).await.is_err());
    let (_, response) = soon(tcp.ask(Method::GET, STREAM, true)).await.unwrap();
    assert!(soon(response).await.is_err(), "with another method");
    let (mut up, _back) = soon(agent.open_bi()).await.unwrap();
    up.write_all(b"x").await.unwrap();
    soon(broker.accept_bi()).await.unwrap();
}

#[tokio::test]
async fn a_stream_for_which_there_is_no_place_is_reset_and_not_ended() {
    let (agent, broker) = pair().await;
    let mut first = soon(agent.accept_uni()).await.unwrap();
    let mut second = soon(agent.accept_uni()).await.unwrap();
    assert!(soon(second.read(&mut [0; 4])).await.is_err(), "there is one way down");
    let mut down = soon(broker.open_uni()).await.unwrap();
    down.write_all(b"down").await.unwrap();
    soon(first.read_exact(&mut [0; 4])).await.unwrap();
    let mut streams = vec![];
    for _ in 0..=STREAMS_MAX {
        streams.push(soon(agent.open_bi()).await.unwrap());
    }
    let (_up, mut last) = streams.pop().unwrap();
    assert!(soon(last.read(&mut [0; 4])).await.is_err(), "one too many that nobody took up");
}

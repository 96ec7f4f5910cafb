//! A small HTTP server that answers as told.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

/// Longest time for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// Not at all.
    Hang,
    /// With one byte a second.
    Trickle,
    /// By closing the connection.
    Close,
}

/// A request that came in.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: String,
    headers: HashMap<String, String>,
}

impl Request {
    /// Value of a header, which must be there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Listens until the test ends.
pub struct Server {
    address: SocketAddr,
    requests: Receiver<Request>,
}

impl Server {
    /// One that gives these answers in turn, the last one for ever.
    pub fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        let answers = Arc::new(Mutex::new(answers));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, answers) = (sender.clone(), Arc::clone(&answers));
                thread::spawn(move || serve(stream, &sender, &answers));
            }
        });
        Self { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request.
    pub fn request(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("no request")
    }

    /// Whether no request has come that was not taken.
    pub fn is_quiet(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

/// Takes one request and answers it.
pub fn serve(
    stream: impl Read + Write,
    to: &Sender<Request>,
    answers: &Mutex<Vec<Answer>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = {
        let mut answers = answers.lock().unwrap();
        if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers[0]
        }
    };
    to.send(Request {
        method,
        path,
        body: String::from_utf8(body).unwrap(),
        headers,
    })
    .ok()?;
    let mut stream = reader.into_inner();
    match answer {
        Answer::Status(status) => {
            let text =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
            stream.write_all(text.as_bytes()).ok()?;
            stream.flush().ok()?;
        }
        Answer::Hang => {
            // Ends when the other side gives up.
            let _ = stream.read(&mut [0]);
        }
        Answer::Trickle => {
            for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" {
                stream.write_all(&[*byte]).ok()?;
                thread::sleep(Duration::from_secs(1));
            }
        }
        Answer::Close => {}
    }
    Some(())
}

/// Waits for something that another thread counts.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: never");
        thread::sleep(Duration::from_millis(2));
    }
}

// tests/apps/probe.rs — the program under test in Rust, with nothing but its standard library.
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{env, fs, process, thread};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn crc(bytes: &[u8]) -> String {
    let mut table = [0u32; 256];
    for (index, slot) in table.iter_mut().enumerate() {
        *slot = (0..8).fold(index as u32, |n, _| if n & 1 == 1 { 0xedb88320 ^ (n >> 1) } else { n >> 1 });
    }
    let value = bytes.iter().fold(!0u32, |c, b| table[((c ^ *b as u32) & 0xff) as usize] ^ (c >> 8));
    format!("{:08x}", !value)
}

fn walk(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Outcome {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if kind.is_file() {
            found.insert(entry.path());
        }
    }
    Ok(())
}

fn files(top: &str) -> Outcome {
    let mut found = BTreeSet::new();
    walk(Path::new(top), &mut found)?;
    // Sorted by bytes, not by path component.
    let mut names: Vec<String> = found.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    names.sort();
    for name in names {
        let bytes = fs::read(&name)?;
        println!("{} {} {}", crc(&bytes), bytes.len(), name);
    }
    Ok(())
}

fn get(url: &str) -> Outcome {
    let rest = url.strip_prefix("http://").ok_or("not http")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect((host, 80))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    print!("{}", answer.split_once("\r\n\r\n").ok_or("no body")?.1);
    Ok(())
}

fn run(args: &[String]) -> Outcome {
    match args[0].as_str() {
        "files" => files(&args[1])?,
        "stat" => {
            let info = fs::metadata(&args[1])?;
            println!("{} {:o} {}", info.len(), info.mode() & 0o7777, info.mtime());
        }
        "env" => println!("{}", env::var(&args[1])?),
        "resolve" => {
            let found: BTreeSet<String> =
                (args[1].as_str(), 80).to_socket_addrs()?.map(|a| a.ip().to_string()).collect();
            println!("{}", found.into_iter().collect::<Vec<_>>().join(" "));
        }
        "get" => get(&args[1])?,
        "write" => {
            fs::write(&args[1], &args[2])?;
            println!("{}", fs::read_to_string(&args[1])?);
        }
        "spawn" => {
            let output = process::Command::new(&args[1]).args(&args[2..]).output()?;
            std::io::stdout().write_all(&output.stdout)?;
        }
        "threads" => {
            let path = args[2].clone();
            let group: Vec<_> = (0..args[1].parse()?)
                .map(|_| { let path = path.clone(); thread::spawn(move || crc(&fs::read(path).unwrap())) })
                .collect();
            let results: BTreeSet<String> = group.into_iter().map(|t| t.join().unwrap()).collect();
            println!("{} {}", results.len(), results.first().unwrap());
        }
        _ => return Err("unknown command".into()),
    }
    Ok(())
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    if let Err(error) = run(&args) {
        eprintln!("{error}");
        process::exit(1);
    }
}

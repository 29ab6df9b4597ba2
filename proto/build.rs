//! Compiles the stream's messages with protox, so that nobody needs a `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/meridian/v1/stream.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".meridian.v1.Batch.payload")
        .bytes(".meridian.v1.Hello.agent_id")
        .compile_fds(files)?;
    Ok(())
}

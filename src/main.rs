//! The `rehearsal` program.

fn main() -> std::process::ExitCode {
    rehearsal::cli::main()
}

//! Traces as their runtimes write them, and what is left of them when they are cut or odd.

use super::{Parsed, parse};

/// The chain as lines: `Type: message`, then `path:line label` of each frame.
fn told(language: &str, trace: &str) -> String {
    let mut told = String::new();
    for Parsed {
        kind,
        message,
        frames,
        ..
    } in parse(language, trace)
    {
        told += &format!("[{kind}] {message}\n");
        for frame in frames {
            told += &format!("  {}:{} {}\n", frame.path, frame.line, frame.label);
        }
    }
    told
}

#[test]
fn java_has_modules_native_frames_and_a_chain_of_causes() {
    let trace = "java.lang.IllegalStateException: state is not legal\n\
        \tat java.base/java.util.Objects.requireNonNull(Objects.java:203)\n\
        \tat app//io.example.Recorder.record(Recorder.java:626)\n\
        \tat io.example.Main.main(Native Method)\n\
        \tat io.example.Main$$Lambda/0x01.apply(Unknown Source)\n\
        \tSuppressed: java.io.IOException: close\n\
        \t\tat io.example.Closer.close(Closer.java:1)\n\
        Caused by: java.lang.IllegalArgumentException: bad argument\n\
        second line\n\
        \tat io.example.Inner.run(Inner.java:9)\n\
        \t... 23 more\n\
        Caused by: java.lang.NullPointerException\n\
        \tat io.example.Deep.run(Deep.java:1)\n";
    insta::assert_snapshot!(told("java", trace), @r"
    [] 
      Objects.java:203 java.util.Objects.requireNonNull
      Recorder.java:626 io.example.Recorder.record
      Native Method:0 io.example.Main.main
      Unknown Source:0 io.example.Main$$Lambda/0x01.apply
    [java.lang.IllegalArgumentException] bad argument
    second line
      Inner.java:9 io.example.Inner.run
    [java.lang.NullPointerException] 
      Deep.java:1 io.example.Deep.run
    ");
}

#[test]
fn java_causes_with_nothing_after_the_colon_are_causes() {
    assert_eq!(told("java", "X\nCaused by: Y:"), "[] \n[Y] \n");
    assert_eq!(told("java", "X\nCaused by: "), "[] \n[] \n");
    assert_eq!(
        told("java", "X\nCaused by:\n\tat \n\tat (\n\tat )\n"),
        "[] \n[] \n\tat \n\tat (\n\tat )\n"
    );
}

#[test]
fn python_is_read_from_its_end() {
    let trace = "Traceback (most recent call last):\n  File \"greet.py\", line 3, in fail\n    raise ValueError(\"x\")\n\
        ValueError: first: of two\nlines\n\n\
        During handling of the above exception, another exception occurred:\n\n\
        Traceback (most recent call last):\n  File \"main.py\", line 10, in <module>\n    go()\n    ^^^^\n\
        \x20 File \"a, b.py\", line 6, in go\n    raise KeyError\nKeyError: 'k'\n";
    insta::assert_snapshot!(told("python", trace), @r"
    [KeyError] 'k'
      a, b.py:6 go
      main.py:10 <module>
    [ValueError] first: of two
    lines
      greet.py:3 fail
    ");
}

#[test]
fn python_files_without_a_name_and_chains_without_a_frame_are_no_trap() {
    assert_eq!(told("python", "  File \nE: m"), "[E] m\n");
    assert_eq!(told("python", "  File , line 3, in f\nE"), "[E] \n  :3 f\n");
    let cut = "Error\n\nDuring handling of the above exception, another exception occurred:\n\nE: m";
    assert_eq!(told("python", cut), "[E] m\n[Error] \n");
    let only = "\nDuring handling of the above exception, another exception occurred:\n";
    assert_eq!(told("python", only), "[] \n[] \n");
}

#[test]
fn javascript_has_labels_columns_and_drives() {
    let trace = "TypeError: Cannot read property 'value' of null\n    at speedy (/app/x.js:6:11)\n    \
        at async Module.load (node:internal/modules/cjs/loader:1103:32)\n    at C:\\app\\a.js:7:8\n    \
        at new Foo (native)\n    at Array.forEach (<anonymous>)\n    at file:///app/m.mjs:3:1\n";
    insta::assert_snapshot!(told("nodejs", trace), @r"
    [] 
      /app/x.js:6 speedy
      node:internal/modules/cjs/loader:1103 async Module.load
      C:\app\a.js:7 
      native:0 new Foo
      <anonymous>:0 Array.forEach
      file:///app/m.mjs:3 
    ");
    assert_eq!(
        told("webjs", "fail@https://x/y.js:12:3\n"),
        "[] \n  https://x/y.js:12 fail\n"
    );
    assert_eq!(
        told("javascript", "    at \n    at (\n    at ()"),
        "[] \n  (:0 \n  ():0 \n"
    );
}

#[test]
fn dotnet_has_places_inner_exceptions_and_lines_without_a_number() {
    let trace = "System.Exception: outer\n ---> System.FormatException: inner\n   at Inner.Run(String s) in C:\\src\\Inner.cs:line 7\n   \
        --- End of inner exception stack trace ---\n   at Outer.Run() in /src/Outer.cs:line 42\n   at Outer.Main()\n   at X.Y() in /src/x.cs:line\n   at ";
    insta::assert_snapshot!(told("dotnet", trace), @r"
    [] 
      /src/Outer.cs:42 Outer.Run()
      :0 Outer.Main()
      /src/x.cs:0 X.Y()
    [System.FormatException] inner
      C:\src\Inner.cs:7 Inner.Run(String s)
    ");
}

#[test]
fn php_is_read_as_its_sdk_writes_it_and_as_php_does() {
    assert_eq!(
        told(
            "php",
            "Exception: thrown\n\tat Foo.bar(foo.php:51)\n\tat {main}(foo.php:60)\nCaused by: E: m\n\tat f(a.php:1)"
        ),
        "[] \n  foo.php:51 Foo.bar\n  foo.php:60 {main}\n[E] m\n  a.php:1 f\n"
    );
    assert_eq!(
        told("php", "#0 /app/a.php(12): Foo->bar()\n#1 {main}\n#"),
        "[] \n  /app/a.php:12 Foo->bar()\n  :0 {main}\n"
    );
}

#[test]
fn go_has_functions_with_places_and_may_be_cut() {
    let trace = "goroutine 1 [running]:\nmain.run(...)\n\t/app/main.go:12 +0x1d\ncreated by main.main in goroutine 1\n\t/app/main.go:5\nmain.last()";
    insta::assert_snapshot!(told("go", trace), @r"
    [] 
      /app/main.go:12 main.run(...)
      /app/main.go:5 created by main.main in goroutine 1
      :0 main.last()
    ");
}

#[test]
fn other_languages_are_not_read() {
    assert!(parse("rust", "at x").is_empty() && parse("java", "").is_empty());
}

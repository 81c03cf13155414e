"""What people and broken tools write: values as text on a command line, and values in files."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

HUGE = "1" + "0" * 400  # 10^400: no float
DIGITS = "7" * 5000  # more digits than Python reads into an integer
LONG = "a" * 251  # longer than a file's name may be

_ORDINARY = """null|true|false|0|1|-1|2|3|0.5|1e5|1e-3|-1e-5|100000000000000000000|-9223372036854775809|1e308|abc|l2|mod10""".split(
    "|"
)
_NUMBERS = f"""{HUGE}|-{HUGE}|{DIGITS}|-{DIGITS}|1e400|-1e400|1e99999|inf|-inf|nan|.inf|.nan|5e|e5|1e|1e+|1e-|+5|0x10|0b1|0o7|1_000|1__0|007|.5|5.|1.2.3|1e5e5|1-e5|٣|²|1e٣|1+1e5|--5""".split(
    "|"
)
_TEXTS = ["", "''", '""', "'", '"', "'a", '"a', r"'a\'b'", r"\\", "\\", " ", "' '", "=", "a=b", "é", "漢字", "\u202eabc",
          "💥", "\x00", "a\x00b", "\x1b[31m", "\udc80", "a\nb", "'a\nb'", "\t", "#", "%", "$", "@", "*", "~", "?", "<b>", "a b",
          "a:b", ":", "::", LONG, "é" * 251, "a" * 5000, "-", "--", "???", "'???'", "a???", "null,null", ";", "|", "&", "!", "`id`"]  # fmt: skip
_NESTED = ["[]", "[1,2]", "[a,b]", "[[1]]", "[null]", "[1,[2]]", "['']", "[???]", "[nan]", f"[{HUGE}]", "[true]", "[-1]", "[0,0]", "[1", "1]", "{", "}",
           "{}", "{a:1}", "{a:{b:1}}", "{1:2}", "{null:1}", "{a:}", "{a}", "{a:1,a:2}", "{true:1}", "{'':1}", "{a.b:1}", "{1.5:x}", "[{}]", "[{a:1}]",
           "[" * 60 + "]" * 60, "{a:" * 60 + "1" + "}" * 60, "[" * 400 + "]" * 400, "{a:" * 400 + "1" + "}" * 400, "[" * 3000, "(" * 3000,
           "[" * 3000 + "]" * 3000, "[" + "1," * 3000 + "1]"]  # fmt: skip
_INTERPOLATIONS = ["${seed}", "${nope}", "${nope.nope}", "${oc.env:HOME}", "${oc.env:NOPE_NOPE}", "${oc.env:NOPE,5}", "${oc.decode:5}", "${oc.create:{a:1}}",
                   "${a:b}", "${}", "${", "$}", "${ }", "${.}", "${..}", "${......seed}", "${.seed}", "${optim}", "${optim.learning_rate}", "${curriculum}",
                   "${hydra:run.dir}", "${hydra:nope}", "${now:%Y}", "${python_version:}", "a${seed}", "${${seed}}", "${data.name}", "${study.name}",
                   "[${seed}]", "${oc.dict.keys:optim}", "${oc.select:nope,1}", "${budget.amount}", "${" * 200 + "}" * 200]  # fmt: skip
_SWEPT = ["a,b", "1,2", "1,2,3", "1,", ",1", ",", "range(1,3)", "range(3,1)", "range(0,1000000000000)", "range(1,2,0)", "range(1)", "range()", "range(a,b)",
          "range(0.1,0.5,0.1)", "choice(1,2)", "choice()", "choice(1)", "choice(a,a)", "interval(0,1)", "interval(1,0)", "interval(1e-4,1e-3)", "tag(log,interval(1,2))",
          "tag(log,interval(0,1))", "tag(x,interval(1,2))", "interval(1,inf)", "interval(0,nan)", "interval(-inf,inf)", "range(0,inf)", "range(0,nan)", "range(0,inf,1)",
          "glob(*)", "glob([a,b])", "sort(3,1)", "shuffle(1,2,3)", "int(5e)", "int(abc)", "float(inf)", "float(x)", "str(1)", "bool(maybe)", "json_str({a:1})",
          "extend_list(1)", "nope(1)", "choice(choice(1))", f"int({HUGE})", f"range(0,{HUGE})", f"choice({HUGE},{DIGITS})", f"interval(0,{HUGE})", "choice([1],[2])",
          "choice({a:1},{b:1})", "choice(null,1)", "int(1.5)", "str([1,2])", "float(1e400)", "choice(${seed},1)", "range(1,3),range(3,5)"]  # fmt: skip
_PATHS = ["/", ".", "..", "./", "../..", "~", "~nobody/x", "/dev/null", "/dev/zero", "/proc/self/mem", "/nope/nope", "nope.jsonl", "*.jsonl", "**", "[", "[a", "a[", "/tmp", "sweeps",
          "sweeps/two.yaml", "rows.jsonl", "package:nope", "package:", "package:../x", "package:/etc/passwd", "http://127.0.0.1:1", "sqlite:///x.db", "sqlite://", "sqlite:///",
          "postgresql://a:b@127.0.0.1:1/x", "file:///tmp/x", "mysql://x", "http://[", "http://[::1", "http://a:99999", "http://a:b", "sqlite:///a%b", "://", "a://b"]  # fmt: skip
_FUNCTIONS = ["os:system", "json:dumps", "nope.nope:x", "eprli_lab.nope:x", "os:nope", "os:", ":x", "os.path:join", "math:sqrt", "sys:exit", "antigravity:x", "this:s", "builtins:print",
              "mine:reward", "mine:Nope", "broken:x", "ends:x", "a" * 300 + ":x", "é:x", "os:path:x", "test.support:x", "__main__:x", "collections:OrderedDict", "collections:deque"]  # fmt: skip
_NAMES = ["l1", "l2", "heldout", "int", "program", "openrlhf", "openrlhf_cpu", "jsonl", "path", "smoke", "full", "default", "base", "level/base", "suite/base", "suite", "levels", "two",
          "searched", "benchmarks", "math500", "gsm8k", "sqlite", "server", "one_gpu", "boxed", "band", "uniform", "sequential", "mixed", "adaptive", "snapshot", "separate", "target", "blocks", "bandit", "thompson", "pools", "greso", "vcrl", "snr",
          "accuracy", "reward", "score", "bfloat16", "cuda", "tokens", "updates", "seconds", "linear", "soft_overlong", "group_relative", "prompt_length", "all-linear", "L2", "l2.yaml",
          "/l2", "l2/", "../curriculum/l2", "config", "hydra/config", "_self_"]  # fmt: skip

KINDS = {
    "ordinary": _ORDINARY,
    "number": _NUMBERS,
    "text": _TEXTS,
    "nested": _NESTED,
    "interpolation": _INTERPOLATIONS,
    "swept": _SWEPT,
    "path": _PATHS,
    "function": _FUNCTIONS,
    "name": _NAMES,
}


def typed() -> st.SearchStrategy[str]:
    """The right side of an override."""
    known = st.one_of(*(st.sampled_from(values) for values in KINDS.values()))
    return known | st.text(max_size=6) | st.integers().map(str) | st.floats().map(repr)


def cell() -> st.SearchStrategy[Any]:
    """A value of a JSON file."""
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from((10**400, -(10**400), 2**63, 2**64, -1, 0)),
        st.floats(),
        typed(),
    )
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=4,
    )

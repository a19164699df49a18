"""No password leaves the process, however the URL is written."""

import shlex

import pytest
from click.testing import CliRunner

from bnnbench.cli import main
from bnnbench.store.passwords import masked, masked_command, masked_word

SECRET = ["pw-1", "p@ss-1", "p/w-1", "p:w-1", "p%40w-1", "p#w?1", "päß-1", "-1&x"]
URLS = [
    "postgresql://u:{}@h/d", "postgresql+psycopg://u:{}@h:5432/d", "POSTGRESQL://u@corp:{}@h/d", "postgresql://:{}@h/d",
    "mysql://u:{}@[::1]:3306/d", "postgresql://u:{}@/d?host=/tmp",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRET)
@pytest.mark.parametrize("url", URLS)
def test_urls(url, secret):
    given, hidden = url.format(secret), url.format("***")
    assert masked(f"Cannot open {given} (no answer).") == f"Cannot open {hidden} (no answer)."
    for word, wanted in ((given, hidden), (f"--db={given}", f"--db={hidden}")):
        assert masked_word(word) == wanted
        command = shlex.join(["bnnbench", "run", word, "--set", "map.lr=1,2"])
        assert shlex.split(masked_command(command)) == ["bnnbench", "run", wanted, "--set", "map.lr=1,2"]


@pytest.mark.parametrize("name", ["password", "PASSWORD", "sslpassword", "passwd", "pgpassword"])
def test_parameters(name):
    assert masked_word(f"postgresql:///d?{name}=a b&host=x") == f"postgresql:///d?{name}=***&host=x"
    assert masked(f"postgresql:///d?host=x&{name}=ab.") == f"postgresql:///d?host=x&{name}=***"


@pytest.mark.parametrize(
    "text",
    ["bnnbench run --db results.db", "bnnbench run --db 'a b.db'  --task toy", "postgresql://u@h/d", "http://h:80/x",
     "sqlite:////tmp/r.db", "it's", ""],
)  # fmt: skip
def test_what_holds_none_stays(text):
    assert masked(text) == masked_word(text) == masked_command(text) == text


@pytest.mark.parametrize(
    "line",
    [
        "run --methods constant --task toy-homoscedastic --budget smoke --db {}",
        "status --db {}",
        "show abc --db {}",
        "export --db={}",
        "report --db {}",
        "run {}",
        "status --dbx={}",
    ],
)
@pytest.mark.parametrize(
    "url",
    ["postgresql://u:s3cr3t@h:port/d", "mysql://u:s3cr3t@h/d", "postgresql://u:s3cr3t@/d?host=/nowhere",
     "postgresql:///d?password=s3cr3t&host=/nowhere", "postgresql://u:s3cr3t@/d?no_such=1&host=/nowhere"],
)  # fmt: skip
def test_no_message_holds_one(line, url):
    result = CliRunner().invoke(main, shlex.split(line.format(url)))
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert "s3cr3t" not in result.output

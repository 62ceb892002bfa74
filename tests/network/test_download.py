"""Published weights come whole and checked, or an error says what to do; against a real server on this machine."""

import email
import hashlib
import io
import os
import subprocess
import sys
import threading
import urllib.request
import urllib.response
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mnasnet.errors import DownloadError
from mnasnet.network import download
from mnasnet.network.download import PUBLISHED, Published, fetch, published_by_content, sha256_of
from mnasnet.preprocess import Preprocess
from mnasnet.presets import PRESETS, WITH_WEIGHTS

CONTENT = os.urandom(1 << 20)
WEIGHTS = Published(
    "mnasnet_050",
    "https://example.invalid/weights/mnasnet_050-test.pth",
    hashlib.sha256(CONTENT).hexdigest()[:8],
    Preprocess(),
    0.0,
    0.0,
    "",
)


class Server(ThreadingHTTPServer):
    """Serves CONTENT; ``faults`` says what goes wrong with the next requests, in order."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that hung up is what some tests are about."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.faults = []
        self.ranges = []  # the Range header of each request
        self.supports_ranges = True
        self.gate = threading.Event()  # requests wait here
        self.gate.set()
        self.released = threading.Event()  # a stalled answer ends here

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/mirror/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        server.gate.wait(10)
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        assert self.path == f"/mirror/{WEIGHTS.file_name}"
        start = 0
        if server.supports_ranges and (wanted := self.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(server.content):
                self.send_error(416)
                return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if fault == "page":
            body = b"\n<!DOCTYPE html><title>Sign in</title>"
        self.send_header("Content-Length", "abc" if fault == "length" else str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault in ("cut", "stall") else body)
        if fault == "stall":
            server.released.wait(30)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def quiet(done, total):
    """A progress listener that shows nothing."""


def bring(server, **options):
    return fetch(WEIGHTS, base_url=server.url, **{"progress": quiet, **options})


def leftovers(cache):
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


def test_a_redirect_from_https_to_http_is_not_followed(cache, monkeypatch):
    def lead_away(self, request):
        headers = email.message_from_string("Location: http://127.0.0.1:9/weights.pth")
        return urllib.response.addinfourl(io.BytesIO(), headers, request.full_url, 302)

    def follow(self, request, answer):
        return self.parent.error("http", request, answer, answer.code, "Found", answer.headers)

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", lead_away)
    monkeypatch.setattr(urllib.request.HTTPErrorProcessor, "https_response", follow)

    with pytest.raises(DownloadError, match=r"leads from https to http://127\.0\.0\.1:9/weights\.pth, where anybody"):
        fetch(WEIGHTS)


def test_a_page_to_sign_in_is_called_a_web_page(server, cache):
    server.faults = ["page"]

    with pytest.raises(DownloadError, match="a web page came in its place"):
        bring(server)
    assert leftovers(cache) == []


def test_a_length_that_is_no_number_is_passed_over(server, cache):
    server.faults = ["length"]

    assert bring(server).read_bytes() == server.content


def test_the_names_offered_for_inference_are_the_published_ones():
    assert sorted(WITH_WEIGHTS) == sorted(PUBLISHED)


def test_a_file_arrives_whole_in_the_user_s_cache(server, cache):
    path = bring(server)

    assert path == cache / WEIGHTS.file_name and path.read_bytes() == CONTENT
    assert leftovers(cache) == [WEIGHTS.file_name]


def test_progress_is_told_up_to_the_whole_size(server, cache):
    heard = []

    bring(server, progress=lambda done, total: heard.append((done, total)))

    assert heard[0] == (0, len(CONTENT)) and heard[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_a_terminal_shows_a_bar_and_a_pipe_shows_nothing(server, cache, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        bring(server, progress=None).unlink()

        assert (f"{WEIGHTS.file_name}: 100%" in stream.getvalue()) is shown


@pytest.mark.parametrize("has_stream", [True, False])
def test_a_program_with_windows_downloads_without_a_bar(server, cache, monkeypatch, has_stream):
    class Pipe:
        write = flush = print

    monkeypatch.setattr(sys, "stderr", Pipe() if has_stream else None)

    assert bring(server, progress=None).read_bytes() == CONTENT


def test_the_second_call_needs_no_network(server, cache):
    bring(server)
    server.shutdown()

    assert bring(server).read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_a_file_brought_by_hand_is_taken(cache, tmp_path):
    cache.mkdir(parents=True)
    (cache / WEIGHTS.file_name).write_bytes(CONTENT)

    assert fetch(WEIGHTS, base_url="http://127.0.0.1:9/") == cache / WEIGHTS.file_name


def test_an_interrupted_download_goes_on_where_it_stopped(server, cache):
    server.faults = ["cut"]

    assert bring(server).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_ranges_starts_over(server, cache):
    server.faults, server.supports_ranges = ["cut"], False

    assert bring(server).read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_a_download_that_keeps_breaking_is_an_error_now_and_goes_on_at_the_next_call(server, cache):
    server.faults = ["cut", "cut", "cut"]

    with pytest.raises(DownloadError, match="the connection ended early"):
        bring(server)
    assert leftovers(cache) == [f"{WEIGHTS.file_name}.part"]

    assert bring(server).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={len(CONTENT) - len(CONTENT) // 8}-"


def test_a_part_of_something_else_is_thrown_away(server, cache):
    cache.mkdir(parents=True)
    (cache / f"{WEIGHTS.file_name}.part").write_bytes(b"x" * 1000)

    assert bring(server).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(server, cache):
    cache.mkdir(parents=True)
    (cache / f"{WEIGHTS.file_name}.part").write_bytes(b"x" * (len(CONTENT) + 1))

    assert bring(server).read_bytes() == CONTENT


def test_a_part_that_is_the_whole_file_is_taken(server, cache):
    cache.mkdir(parents=True)
    (cache / f"{WEIGHTS.file_name}.part").write_bytes(CONTENT)

    assert bring(server).read_bytes() == CONTENT
    assert leftovers(cache) == [WEIGHTS.file_name]
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_busy_server_is_asked_again(server, cache, monkeypatch):
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)
    server.faults = [503, 429]

    assert bring(server).read_bytes() == CONTENT
    assert len(server.ranges) == 3


def test_a_server_that_stays_busy_is_told(server, cache, monkeypatch):
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)
    server.faults = [503] * 3

    with pytest.raises(DownloadError, match="the server answered 503 Service Unavailable; check the network"):
        bring(server)


def test_a_wrong_hash_is_an_error_and_leaves_nothing(server, cache):
    server.content = b"x" + CONTENT[1:]
    digest = hashlib.sha256(server.content).hexdigest()[:10]

    with pytest.raises(DownloadError, match=f"SHA-256 begins with {digest} instead of {WEIGHTS.sha256_prefix}"):
        bring(server)

    assert leftovers(cache) == []


def test_a_download_without_end_is_broken_off(server, cache, monkeypatch):
    monkeypatch.setattr(download, "_MOST_BYTES", 100_000)
    server.content = bytes(10_000_000)

    with pytest.raises(DownloadError, match="its SHA-256 begins with"):
        bring(server)

    assert leftovers(cache) == []


def test_a_damaged_file_in_the_cache_is_replaced(server, cache, caplog):
    bring(server).write_bytes(b"bad sector")

    assert bring(server).read_bytes() == CONTENT
    assert "is damaged or another file (its SHA-256 is wrong); downloading it again" in caplog.text


def test_without_network_the_error_names_the_file_its_place_and_the_bundled_model(cache):
    with pytest.raises(DownloadError) as caught:
        fetch(WEIGHTS, base_url="http://127.0.0.1:9/", progress=quiet)

    text = str(caught.value)
    assert text.startswith("cannot download mnasnet_050-test.pth, the weights of mnasnet_050: Connection refused; ")
    assert f"by hand to {cache / WEIGHTS.file_name}" in text
    assert "the bundled model photos10" in text
    assert "\n" not in text and "http" not in text


def test_a_name_that_no_server_has_is_no_network(cache):
    with pytest.raises(DownloadError, match="cannot download mnasnet_050-test.pth"):
        fetch(WEIGHTS, progress=quiet)


@pytest.mark.parametrize(("fault", "words"), [(404, "404 Not Found"), (500, "500 Internal Server Error")])
def test_an_answer_that_is_no_file_is_told(server, cache, fault, words):
    server.faults = [fault]

    with pytest.raises(DownloadError, match=f"the server answered {words}; check the network"):
        bring(server)


def test_a_folder_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(DownloadError) as caught:
        bring(server, folder=tmp_path / "file" / "weights")

    text = str(caught.value)
    assert f"{tmp_path / 'file' / 'weights'} cannot be written (Not a directory); set the environment variable" in text
    assert "MNASNET_CACHE" in text and "network" not in text


def test_the_cache_may_be_a_folder_of_the_user_s_home(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("MNASNET_CACHE", "~/weights of mine")

    assert bring(server).is_relative_to(tmp_path / "weights of mine")


@pytest.mark.parametrize(("proxy", "no_proxy", "told"), [("127.0.0.1:9", "", True), ("127.0.0.1:9", "*", False)])
def test_a_proxy_that_fails_is_named_without_its_password(proxy, no_proxy, told, cache, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://user:secret@{proxy}/")
    monkeypatch.setenv("no_proxy", no_proxy)

    with pytest.raises(DownloadError) as caught:
        fetch(WEIGHTS, base_url="http://127.0.0.1:9/", progress=quiet)

    assert (f"Connection refused (through the proxy {proxy}); " in str(caught.value)) is told
    assert "secret" not in str(caught.value)


def child_that_fetches(server):
    code = (
        "import sys; from tests.network.test_download import WEIGHTS; from dataclasses import replace;"
        "from mnasnet.network.download import fetch;"
        "weights = replace(WEIGHTS, sha256_prefix=sys.argv[2]);"
        "tell = lambda done, total: print(done, flush=True);"
        "print('begun', flush=True); print(fetch(weights, base_url=sys.argv[1], progress=tell))"
    )
    command = [sys.executable, "-c", code, server.url, WEIGHTS.sha256_prefix]
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begun\n"
    return child


def test_two_processes_at_once_download_once(server, cache):
    server.gate.clear()  # the first request waits until both have begun
    children = [child_that_fetches(server) for _ in range(2)]

    server.gate.set()

    outputs = [child.communicate(timeout=60)[0].splitlines()[-1] for child in children]
    assert outputs == [str(cache / WEIGHTS.file_name)] * 2
    assert len(server.ranges) == 1 and (cache / WEIGHTS.file_name).read_bytes() == CONTENT


def test_a_killed_process_leaves_no_lock_and_its_part_is_used(server, cache):
    server.faults = ["stall"]
    child = child_that_fetches(server)
    while int(child.stdout.readline()) < len(CONTENT) // 4:
        pass
    child.kill()
    child.communicate()

    assert bring(server).read_bytes() == CONTENT
    server.released.set()
    assert int(server.ranges[1].removeprefix("bytes=").rstrip("-")) > 0


def test_threads_of_one_process_download_once(server, cache):
    threads = [threading.Thread(target=bring, args=(server,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(server.ranges) == 1 and (cache / WEIGHTS.file_name).read_bytes() == CONTENT


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_published_file_names_its_own_hash_and_a_preset(name):
    weights = PUBLISHED[name]

    assert name in PRESETS and weights.name == name
    assert weights.url.startswith("https://") and weights.file_name.endswith(f"-{weights.sha256_prefix}.pth")
    assert 60 < weights.top1_percent < weights.top5_percent < 100


def test_torchvision_s_own_table_agrees():
    import torchvision

    for name in ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"):
        theirs, ours = torchvision.models.get_model_weights(name).DEFAULT, PUBLISHED[name]
        recipe = theirs.transforms()

        assert theirs.url == ours.url
        assert recipe.crop_size == [ours.preprocess.input_size] and recipe.resize_size == [ours.preprocess.resize]
        assert (tuple(recipe.mean), tuple(recipe.std)) == (ours.preprocess.mean, ours.preprocess.std)
        assert recipe.interpolation.value == ours.preprocess.interpolation
        assert theirs.meta["_metrics"]["ImageNet-1K"] == {"acc@1": ours.top1_percent, "acc@5": ours.top5_percent}


def test_timm_s_own_table_agrees():
    import timm

    for name in ("mnasnet_100", "semnasnet_100", "semnasnet_075", "mnasnet_small"):
        theirs, ours = timm.get_pretrained_cfg(name), PUBLISHED[name]

        assert theirs.url == ours.url and theirs.interpolation == ours.preprocess.interpolation
        assert int(theirs.input_size[1] / theirs.crop_pct) == ours.preprocess.resize
        assert (theirs.mean, theirs.std) == (ours.preprocess.mean, ours.preprocess.std)


def test_content_is_recognised_whatever_the_file_is_called(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"nobody's")

    assert published_by_content(tmp_path / "x.pth") is None
    assert sha256_of(tmp_path / "x.pth") == hashlib.sha256(b"nobody's").hexdigest()
    assert max(Counter(weights.sha256_prefix for weights in PUBLISHED.values()).values()) == 1

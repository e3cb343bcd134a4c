"""A folder for the hub: what is in it, who reads it, and hf:owner/name@revision from a server on the loopback."""

import dataclasses
import hashlib
import html
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from exported_networks import make_card
from PIL import Image
from support import call_cli, tiny

import ganvas
from ganvas.config import replace
from ganvas.config.custom import Custom
from ganvas.data.cached import cache_contents
from ganvas.errors import GanvasError
from ganvas.exporting import hub_folder, model_card
from ganvas.exporting.exported import public_card
from ganvas.networks import Shape
from ganvas.runs.folder import Run
from ganvas.runs.training_data import find_run
from ganvas.sampling import load
from ganvas.training.start import train

COMMIT, OLD = "a" * 40, "b" * 40
SEEDS = range(6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        run = train(replace(tiny(), conditional=True), out=tmp_path_factory.mktemp("runs"), quiet=True)
        call_cli("evaluate", run, "--count", 40, "--quiet", check=0)
    return run


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hub") / "digits"
    found = ganvas.export(run, to="hub", out=path, licence="CC-BY-4.0")
    assert found.files == (path,)
    assert found.parity[0].largest == 0
    return path


class Hub:
    """A server that answers as the Hugging Face hub does, for owner/name."""

    def __init__(self, folder: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.files["pytorch_model.bin"] = b"\x80\x04."
        self.revisions, self.requests, self.status = {"main": COMMIT, "v1/x": COMMIT, OLD: OLD}, list[str](), 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.requests.append(path)
                content = None if hub.status else hub.answer(path)
                if content is None:
                    self.send_error(hub.status or 404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, path: str) -> bytes | None:
        api = "/api/models/owner/name/revision/"
        if path.startswith(api):
            commit = self.revisions.get(path.removeprefix(api))
            return None if commit is None else json.dumps({"sha": commit, "siblings": self.listing()}).encode()
        for commit in self.revisions.values():
            if path.startswith(start := f"/owner/name/resolve/{commit}/"):
                return self.files.get(path.removeprefix(start))
        return None

    def listing(self) -> list[dict[str, Any]]:
        files = []
        for name, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            facts = {"rfilename": name, "size": len(content), "blobId": blob}
            if name.endswith(".safetensors"):
                facts["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            files.append(facts)
        return files


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(folder)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()


def test_folder_has_its_files_and_no_place_of_this_machine(folder: Path, run: Run) -> None:
    assert {path.name for path in folder.iterdir()} == set(hub_folder.FILES)
    content = json.loads((folder / "config.json").read_text())
    assert content["library_name"] == "ganvas"
    assert content["card"]["shape"]["classes"] == 10
    for path in folder.iterdir():
        assert str(run.path.parent).encode() not in path.read_bytes()


def test_card_says_what_it_is_and_leaves_nothing_to_fill_in(folder: Path, run: Run) -> None:
    text = (folder / "README.md").read_text()
    row = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])
    for part in (
        "license: cc-by-4.0", "8×8 grey images", "one of 10: 0, 1, 2", run.metadata["data"]["fingerprint"],
        "samples.png", "nearest.png", "The configuration is one of its own", "Intended use", "under cc-by-4.0",
        "near-copies",
        row["values"]["kernel"]["title"], "Features: eye", "the baseline, held-out real images", "moving average",
    ):  # fmt: skip
        assert part in text, part
    for placeholder in ("More Information", "TODO", "[[", "None", " nan", "{"):
        assert placeholder not in text.partition("<pre>")[0] + text.partition("</pre>")[2], placeholder
    assert "hub" not in text.splitlines()[1]


def test_card_of_a_run_without_numbers_says_so(tmp_path: Path) -> None:
    run = train(tiny(), out=tmp_path / "runs", quiet=True)
    found = ganvas.export(run, to="hub", out="plain", licence="mit")
    assert any("ganvas evaluate RUN" in note for note in found.notes)
    text = Path("plain/README.md").read_text()
    assert "was not evaluated" in text
    assert "nearest.png" not in text
    assert not Path("plain/nearest.png").exists()


def test_lesser_evaluations_do_not_displace_a_full_one(run: Run, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(run.path, tmp_path / "copy"))
    row = json.loads((copy.path / "metrics.jsonl").read_text().splitlines()[-1])
    row["memorisation"] |= {"copying": True, "near_copies": 0.5, "near_copies_expected": 0.0}

    def read(*rows: dict[str, Any]) -> list[dict[str, Any]]:
        (copy.path / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
        return model_card.read_evaluations(load(copy))[0]

    def with_subject(**changes: Any) -> dict[str, Any]:
        return row | {"protocol": row["protocol"] | {"subject": row["protocol"]["subject"] | changes}}

    lesser = [row | {"memorisation": None}, with_subject(truncation=0.5), with_subject(count=10)]
    assert read(row, *lesser) == read(*lesser, row) == [row]
    text = model_card.write_model_card(load(copy), read(row, *lesser), "mit", name="x", nearest=False)
    assert "It copies training images" in text
    assert "not measured" not in text
    newer = row | {"notes": ["newer"]}
    assert read(row, newer) == [newer]


def test_run_is_found_from_inside_it_and_by_a_link(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    snapshot = run.latest_snapshot
    (tmp_path / "link").symlink_to(snapshot)
    monkeypatch.chdir(snapshot.parent)
    for path in (Path(snapshot.name), tmp_path / "link", snapshot):
        found = find_run(load(path).path)
        assert found is not None
        assert found.path.samefile(run.path)
    shutil.copytree(snapshot, tmp_path / "elsewhere")
    assert find_run(tmp_path / "elsewhere") is None


def test_card_of_a_folder_without_its_run_claims_nothing(folder: Path) -> None:
    found = ganvas.export(folder, to="hub", out="again")
    text = Path("again/README.md").read_text()
    assert "No evaluation is at hand" in text
    assert "Whether it copies training images is not known here" in text
    assert "those of its run are not at hand" in found.notes[0]
    for same in ("again", Path("again").resolve() / "model.safetensors"):
        with pytest.raises(GanvasError, match="is the generator itself"):
            ganvas.export(same, to="hub", out="again")
    assert Path("again/README.md").read_text() == text


def test_names_of_classes_are_text(run: Run) -> None:
    sampler = load(run)
    sampler.card = replace(sampler.card, class_names=("<script>", "a|b", "*c*", "d\ne", *"456789"))
    from ganvas.exporting.model_card import write_model_card

    text = write_model_card(sampler, [], "mit", name="x", nearest=False)
    assert "<script>" not in text.replace("label='<script>'", "")
    assert r"a\|b, \*c\*, d e" in text


def test_folder_is_read_by_all_that_read_a_snapshot(folder: Path, run: Run) -> None:
    own = load(run).sample(SEEDS)
    assert (load(folder).sample(SEEDS) == own).all()
    assert (load(folder / "model.safetensors").sample(SEEDS) == own).all()
    assert "grid.png" in call_cli("sample", folder, "--seeds", "0-9", check=0).stdout
    with pytest.raises(GanvasError, match="is given under"):
        ganvas.export(folder, to="hub", out="again", licence="mpl-2.0")
    again = ganvas.export(folder, to="hub", out="again")
    assert again.parity[0].share == 0
    evaluated = call_cli(
        "evaluate", folder, "--against", "digits", "--quick", "--count", 40, "--quiet", "--json", check=0
    )
    assert json.loads(evaluated.stdout)["protocol"]["subject"]["weights"] == "ema"
    assert {path.name for path in folder.iterdir()} == set(hub_folder.FILES), "nothing is written into it"
    started = train(replace(replace(tiny(), conditional=True), init_from=str(folder)), out=Path("runs"), quiet=True)
    assert started.metadata["lineage"]["kimg"] == 0.2
    with pytest.raises(GanvasError, match="is given under"):
        ganvas.export(started.path, to="hub", out="third", licence="mpl-2.0")


@pytest.mark.parametrize("command", [["train"], ["plot"], ["compare", "mlp"], ["diagnose"]], ids=" ".join)
def test_what_needs_a_training_says_that_there_is_none(command: list[str], folder: Path) -> None:
    result = call_cli(*command, folder, check=None)
    assert result.returncode in (1, 2)
    assert "Traceback" not in result.stderr


def test_name_of_the_hub_is_downloaded_once(hub: Hub, run: Run) -> None:
    own = load(run).sample(SEEDS)
    assert (ganvas.load("hf:owner/name").sample(SEEDS) == own).all()
    assert not any(path.endswith((".bin", ".md", ".png")) for path in hub.requests), "JSON and safetensors only"
    first = len(hub.requests)
    assert first == 3
    ganvas.load("hf:owner/name@v1/x")
    assert len(hub.requests) == first + 1, "only the revision is asked for"
    ganvas.load(f"hf:owner/name@{COMMIT}")
    assert len(hub.requests) == first + 1, "a commit never changes"
    assert [entry.kind for entry in cache_contents.entries()] == ["generator"]
    cache_contents.clean()
    assert not cache_contents.entries()
    assert "grid.png" in call_cli("sample", "hf:owner/name", "--seeds", "0-9", check=0).stdout
    arguments = ["--against", "digits", "--quick", "--count", 40, "--quiet", "--json"]
    call_cli("evaluate", "hf:owner/name@main", *arguments, check=0)
    config = replace(replace(tiny(), conditional=True), init_from="hf:owner/name@main")
    assert train(config, out=Path("runs"), quiet=True).metadata["lineage"]["from"] == "hf:owner/name@main"


def test_without_a_connection_the_copy_is_used_or_the_error_says_what_is_missing(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.status = 503
    with pytest.raises(GanvasError, match="HTTP 503") as caught:
        ganvas.load("hf:owner/name")
    assert "a copy in the cache" in caught.value.expected
    hub.status = 0
    ganvas.load("hf:owner/name")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ganvas.load("hf:owner/name")
    assert "gives no answer" in capsys.readouterr().err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ganvas.load("hf:owner/name")
    with pytest.raises(GanvasError, match="HF_HUB_OFFLINE is set"):
        ganvas.load("hf:owner/name@v1/x")
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    ganvas.load("hf:owner/name@v1/x")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("hf:owner/name", "hf:owner/name@v1/x"):  # one commit, seen by two names
        ganvas.load(name)
    with pytest.raises(GanvasError, match="HF_HUB_OFFLINE is set"):
        ganvas.load("hf:owner/name@other")


@pytest.mark.parametrize(
    "name", ["hf:", "hf:owner", "hf:a/b/c", "hf:a/../b", "hf:owner/name@", "hf:owner/na me", "hf:a/b@../x"]
)
def test_name_that_is_none_is_refused_without_a_request(name: str, hub: Hub) -> None:
    with pytest.raises(GanvasError, match="names no generator"):
        ganvas.load(name)
    assert not hub.requests


def test_unknown_name_or_revision_is_refused(hub: Hub) -> None:
    for name in ("hf:owner/other", "hf:owner/name@nosuch"):
        with pytest.raises(GanvasError, match=r"no generator .* \(HTTP 404") as caught:
            ganvas.load(name)
        assert "hf download" in caught.value.fix


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hub: hub.files.pop("config.json"), "has no config.json"),
        (lambda hub: hub.files.pop("model.safetensors"), "has no model.safetensors"),
        (lambda hub: hub.files.update({"config.json": b'{"library_name": "diffusers"}'}), "not a generator of Ganvas"),
        (lambda hub: hub.files.update({"config.json": b"{"}), "not a generator of Ganvas"),
        (lambda hub: hub.files.update({"model.safetensors": b"\x80\x04."}), "not a usable generator"),
        (lambda hub: setattr(hub, "listing", lambda: [{"rfilename": f} for f in ("config.json", "model.safetensors")]),
         "could not be downloaded"),
        (lambda hub: setattr(hub, "listing", lambda: [1, None]), "has no config.json"),
    ],
    ids=["no config", "no weights", "another library", "damaged", "no safetensors", "no sizes", "no listing"],
)  # fmt: skip
def test_what_is_no_generator_is_refused(change: Any, said: str, hub: Hub) -> None:
    change(hub)
    for _ in range(2):
        with pytest.raises(GanvasError, match=said):
            ganvas.load("hf:owner/name")


def test_content_that_is_not_what_the_hub_says_is_refused(hub: Hub) -> None:
    listing = hub.listing()
    hub.listing = lambda: listing  # type: ignore[method-assign]
    kept = hub.files["config.json"]
    hub.files["config.json"] = kept + b" "
    with pytest.raises(GanvasError, match="not what the hub says"):
        ganvas.load("hf:owner/name")
    hub.files["config.json"] = kept
    hub.files["model.safetensors"] = bytes(len(hub.files["model.safetensors"]))
    with pytest.raises(GanvasError, match="SHA-256"):
        ganvas.load("hf:owner/name")


def test_code_that_a_card_names_is_never_executed(folder: Path) -> None:
    Path("evil.py").write_text("from pathlib import Path\nPath('executed').touch()\n")
    content = json.loads((folder / "config.json").read_text())
    own = {"family": "custom", "latent": 6, "g": "evil.py:G", "d": "evil.py:D"}
    inner = own | {"g": "dcgan", "d": "projected(features_net='evil.py:F')"}
    for network, sources in ((own, {}), (own, {"evil.py": {"sha256": "0" * 64}}), (inner, {})):
        copy = Path("copy")
        copy.mkdir(exist_ok=True)
        changed = {**content, "card": {**content["card"], "network": network, "sources": sources}}
        (copy / "config.json").write_text(json.dumps(changed))
        (copy / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        with pytest.raises(GanvasError):
            load(copy)
        assert not Path("executed").exists()


def test_networks_of_the_lineage_are_named_without_folders() -> None:
    seen = [
        {"network": "/home/me/nets.py:Maps(sides=(1, 2))", "weights": "0" * 16},
        {"network": "eye", "weights": None},
    ]
    card = dataclasses.replace(make_card(tiny().network, Shape(1, 8, 8)), d_networks=seen)
    assert [one["network"] for one in public_card(card)["d_networks"]] == ["nets.py:Maps(sides=(1, 2))", "eye"]


def test_own_d_stays_here_and_g_is_exported() -> None:
    Path("nets.py").write_text(
        "from torch import nn\n\n\n"
        "class D(nn.Sequential):\n    def __init__(self, shape):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, 1))\n\n\n"
        "class Maps(nn.Module):\n    def forward(self, x):\n        return [x]\n"
    )
    small = {"data": "digits", "kimg": 0.05, "batch": 10, "plot": False, "quiet": True, "device": "cpu"}
    runs = {
        "own": ganvas.train(
            "custom", name="own", g="mlp(g_widths=(8,))", d=f"{Path.cwd()}/nets.py:D", latent=6, **small
        ),
        "seen": ganvas.train("fast", name="seen", features_net="nets.py:Maps", g_width=4, d_width=4, **small),
    }
    for name, run in runs.items():
        exported = Path(f"{name}-hub")
        (parity,) = ganvas.export(run, to="hub", out=exported, licence="mit").parity
        assert parity.share == 0
        text = (exported / "config.json").read_text()
        assert str(Path.cwd()) not in text
        assert "nets.py:D" not in text
        assert ganvas.load(exported).sample(seeds=[3]).shape == ganvas.load(run).sample(seeds=[3]).shape
    (network,) = json.loads(Path("seen-hub/config.json").read_text())["card"]["d_networks"]
    assert network["network"] == "nets.py:Maps"


def test_samples_of_many_classes_are_one_grid(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hub_folder, model_card):
        monkeypatch.setattr(module, "MOST_ROWS", 9)
    ganvas.export(run, to="hub", out="many", licence="mit")
    with Image.open("many/samples.png") as grid:
        assert grid.width == grid.height
    assert "row by row, each of the next class;" in Path("many/README.md").read_text()


def test_own_code_in_a_card_for_others_is_named_without_folders() -> None:
    spec = "/home/me/nets.py:Net(width=8)"
    network = Custom(g=spec, d="/home/me/nets.py:D", latent=6)
    card = dataclasses.replace(
        make_card(network, Shape(1, 8, 8)),
        sources={"/home/me/nets.py": {"sha256": "0" * 64, "path": "/home/me/nets.py"}},
    )
    assert "/home/me" not in json.dumps(public_card(card))


def test_licence_is_the_users_choice(run: Run) -> None:
    for given, said in (([], "only you can choose"), (["--licence", "cc-by-4"], "did you mean 'cc-by-4.0'")):
        result = call_cli("export", run.path, "--to", "hub", "--out", "made", *given, check=1)
        assert said in result.stderr
        assert not Path("made").exists()


def test_only_an_earlier_export_is_replaced(run: Run) -> None:
    Path("mine").mkdir()
    Path("mine/photo.jpg").touch()
    Path("file").touch()
    for name in ("mine", "file", str(run.path)):
        result = call_cli("export", run.path, "--to", "hub", "--out", name, "--licence", "mit", check=1)
        assert "not replaced" in result.stderr
    assert [path.name for path in Path("mine").iterdir()] == ["photo.jpg"]
    Path("empty").mkdir()
    for _ in range(2):
        call_cli("export", run.path, "--to", "hub", "--out", "empty", "--licence", "mit", check=0)
    assert {path.name for path in Path("empty").iterdir()} == set(hub_folder.FILES)


def test_upload_is_asked_for_and_uses_the_users_token(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    class HfApi:
        def create_repo(self, repository: str, **options: Any) -> str:
            calls.append((repository, options))
            return f"https://hub.example/{repository}"

        def upload_folder(self, **options: Any) -> None:
            calls.append((options["repo_id"], options))
            sent = {path.name for path in Path(options["folder_path"]).iterdir()}
            assert sent == set(hub_folder.FILES) - {"nearest.png"}, "nobody has looked at the training images yet"

    fake = ModuleType("huggingface_hub")
    fake.HfApi = HfApi  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    base = ["export", run.path, "--to", "hub", "--licence", "mit"]
    kept = " ".join(call_cli(*base, "--out", "kept", check=0).stdout.split())
    assert not calls, "nothing is uploaded that was not asked for"
    assert "nearest.png, which shows training images" in kept
    assert "hf upload OWNER/NAME kept" in kept
    shutil.copytree("kept", "given")
    result = call_cli(*base, "--out", "given", "--upload", "me/digits", check=0)
    assert "https://hub.example/me/digits" in result.stdout.replace("\n", "")
    assert [repository for repository, _ in calls] == ["me/digits"] * 2
    assert calls[1][1]["delete_patterns"] == ["nearest.png"], "also one of an earlier upload"
    text = Path("given/README.md").read_text()
    assert "ganvas sample hf:me/digits" in text
    assert "nearest.png" not in text

    def refuse(self: object, **options: Any) -> None:
        raise RuntimeError("401 Client Error: Unauthorized")

    monkeypatch.setattr(HfApi, "upload_folder", refuse)
    result = call_cli(*base, "--out", "again", "--upload", "me/digits", check=1)
    assert "401 Client Error" in result.stderr
    assert "hf auth login" in result.stderr
    assert Path("again/README.md").exists(), "the folder is kept"
    for name in ("me", "me/../x", ""):
        assert "owner/name" in call_cli(*base, "--out", "new", "--upload", name, check=1).stderr
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    result = call_cli(*base, "--out", "new", "--upload", "me/digits", check=1)
    assert "pip install 'ganvas[hub]'" in result.stderr
    assert not Path("new").exists()


def test_knobs_of_every_recipe_are_in_its_card_as_they_are() -> None:
    from ganvas.config import leaves, replace
    from ganvas.exporting.model_card import _all_knobs, _changed_knobs, _without_folder
    from ganvas.recipes import RECIPES

    schedules = set()
    for recipe in RECIPES.values():
        _changed_knobs("mlp", recipe.config)
        knobs = html.unescape(_all_knobs(replace(recipe.config, g_lr="2e-3..0:cosine@0.2-1")))
        assert "2e-3..0:cosine@0.2-1" in knobs
        schedules |= {value for _, value in leaves(recipe.config) if isinstance(value, str) and ":" in value}
    assert len(schedules) > 2
    assert all(_without_folder(value) == value for value in schedules)
    assert _without_folder("/home/me/nets.py:G(width=3)") == "nets.py:G(width=3)"
    assert _without_folder(r"C:\me\nets.py:G") == "nets.py:G"
    assert _without_folder("package.module:G") == "package.module:G"


def test_card_of_a_pretrained_generator_has_the_numbers_that_it_came_with(tmp_path: Path) -> None:
    found = ganvas.export("pretrained:digits", to="hub", out=tmp_path / "digits")
    text = (tmp_path / "digits" / "README.md").read_text("utf-8")
    assert "| precision |" in text
    assert "not evaluated" not in text
    assert "not measured" not in text
    assert not any("no numbers" in note for note in found.notes)


def test_controls_in_names_of_classes_do_not_reach_the_terminal(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config["card"]["class_names"][0] = "\x1b[31mred\x07"
    (copy / "config.json").write_text(json.dumps(config))
    refused = call_cli("sample", copy, "--label", "none", check=1)
    assert "\\x1b[31mred\\x07" in refused.stderr
    assert "\x1b[31mred" not in refused.stderr

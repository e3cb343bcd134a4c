"""Which folders are splits of a data set, or masks of its images, rather than classes; decided by their names alone."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_WORDS = {
    "train": "train training trn trainset trainval learn learning entrainement apprentissage entrenamiento treino"
    " treinamento addestramento trainieren trainingsdaten lern uczacy treningowy opleiding egitim обучение обучающая"
    " allenamento тренировка 训练 训练集 训练数据 訓練 学習 学習用 훈련 학습",
    "test": "test testing tst tests testset holdout heldout unseen prueba pruebas teste testes testdaten"
    " essai tester testowy prova collaudo тест тестовая 测试 测试集 測試 テスト 테스트 eval evaluation evaluate",
    "val": "val valid validation validate validset dev development validierung validacion validacao validazione"
    " convalida validatie walidacja dogrulama проверка валидация 验证 验证集 驗證 検証 검증",
    "aside": "pred predict prediction predictions unlabeled unlabelled extra sample samples example examples demo",
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_FILLER_WORDS = "data dataset set images image imgs img pictures pics photos folder split files jpg jpeg png of ground"
_FILLERS = frozenset(_FILLER_WORDS.split())
_IMAGE_WORDS = "images image imgs img pictures pics photos jpegimages rgb input inputs originals original"
_IMAGES = frozenset(_IMAGE_WORDS.split())
_MASK_WORDS = (
    "mask masks label labels annotation annotations segmentation segmentations segmentationclass segmentationobject"
    " trimap trimaps gt groundtruth truth seg segs depth edges bbox bboxes alpha matte mattes keypoints landmarks"
)
_MASKS = frozenset(_MASK_WORDS.split())
_CERTAIN_THUMBNAILS = frozenset(("thumbnail", "thumbnails"))
_THUMBNAILS = _CERTAIN_THUMBNAILS | {"thumb", "thumbs"}  # which may also be fingers: classes of gestures
_COPY = re.compile(
    r"(?P<stem>.+?)[ _.-]+(?P<kind>masks?|seg|segmentation|gt|groundtruth|thumb|thumbnail)[ _-]?\d*", re.I
)


@dataclass(frozen=True)
class Split:
    """The folders of a split."""

    folders: frozenset[str]
    classes: dict[str, str]
    """The class that a folder names: `A` for trainA, beside trainB. Empty if the folders name none."""
    note: str


@dataclass(frozen=True)
class _Name:
    kind: str
    """train, test, val, aside, or empty: the name says nothing of a split."""
    rest: str
    """The other words, without those that every data set has."""


def has_mark(stem: str, siblings: Collection[str]) -> str:
    """`masks` for `cat_mask` beside `cat`, `thumbnails` for `cat_thumb` or `thumb_cat`; otherwise empty.

    Args:
        siblings: the names of all files of the folder, in lower case and without their endings.
    """
    stem = stem.lower()
    match = _COPY.fullmatch(stem)
    if match is not None and match["stem"] in siblings:
        return "thumbnails" if match["kind"].startswith("thumb") else "masks"
    prefix = re.fullmatch(r"(?:thumb|thumbnail)[ _.-]+(.+)", stem)
    return "thumbnails" if prefix is not None and prefix[1] in siblings else ""


def find_asides(folders: Sequence[str]) -> dict[str, str]:
    """Those of sibling folders that hold no images of their own, by what they hold: masks or thumbnails."""
    words = {folder: _words(folder) for folder in folders}
    others = {folder for folder in folders if not words[folder] & (_MASKS | _THUMBNAILS)}
    has_images = any(words[folder] & (_IMAGES | _KINDS.keys()) for folder in others)
    rests = [words[other] - _FILLERS for other in others]
    found = {}
    for folder in folders:
        base = words[folder] - _MASKS - _THUMBNAILS - _FILLERS
        evident = has_images or (bool(base) and base in rests)
        if words[folder] & _THUMBNAILS and others:
            alone = not base and (len(others) == 1 or not any(rests))
            if evident or alone or words[folder] & _CERTAIN_THUMBNAILS:
                found[folder] = "thumbnails"
        elif words[folder] & _MASKS and evident:
            found[folder] = "masks"
    return found


def choose_split(folders: Sequence[str], wanted: str, *, complete: bool = True) -> Split | None:
    """The folders that make up a split, if the names are those of splits: at least two, or nothing else.

    The held-out split is the test split, or else the validation split. One folder called `train` among classes is a
    class: there are trains among vehicles.

    Args:
        folders: sibling folders that contain images.
        wanted: train or test.
        complete: whether no other images are beside the folders.
    """
    names = {folder: _parse(folder) for folder in folders}
    kinds = {name.kind for name in names.values()} & {"train", "test", "val"}
    if not kinds:
        return None
    rests = {kind: {name.rest.casefold() for name in names.values() if name.kind == kind} for kind in kinds}
    alone = all(name.kind for name in names.values()) and complete
    if len(kinds) == 1 and not alone:
        return None
    first = "train" if "train" in kinds else "val" if "val" in kinds else "test"
    held_out = next((kind for kind in ("test", "val") if kind in kinds and (kind != first or len(kinds) == 1)), "")
    if any(not rests[kind] <= rests[first] for kind in kinds):
        return None
    chosen_kind = first if wanted == "train" else held_out
    chosen = [folder for folder in folders if chosen_kind and names[folder].kind == chosen_kind]
    classes = {folder: names[folder].rest for folder in chosen} if len({names[f].rest for f in chosen}) > 1 else {}
    return Split(frozenset(chosen), classes, _describe(folders, chosen, classes, wanted))


def _describe(folders: Sequence[str], chosen: Sequence[str], classes: dict[str, str], wanted: str) -> str:
    if not chosen:
        return ""
    verb = "is" if len(chosen) == 1 else "are"
    note = f"{' and '.join(chosen)} {verb} used as the {wanted} split"
    if classes:
        note += f", with the classes {' and '.join(classes.values())} (for one alone, give the path of its folder)"
    others = [folder for folder in folders if folder not in chosen]
    return note + (f"; not used: {', '.join(others[:8])}{' …' if len(others) > 8 else ''}." if others else ".")


def without_accents(name: str) -> str:
    """The letters of a name alone."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c) or ord(c) > 0x3000)


def _split_words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", without_accents(name))
    return re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", spaced))


def _words(name: str) -> set[str]:
    return {word.casefold() for word in _split_words(name)}


def _parse(name: str) -> _Name:
    words = _split_words(name)
    found = [word for word in words if word.casefold() in _KINDS]
    if len(found) != 1:
        joined = "".join(words).casefold()  # held-out, ground truth
        return _Name(_KINDS.get(joined, ""), "")
    rest = [word for word in words if word is not found[0] and word.casefold() not in _FILLERS]
    return _Name(_KINDS[found[0].casefold()], " ".join(rest))


def choose_files(files: Sequence[str], wanted: str) -> tuple[list[str], str]:
    """The shards of a split, by the words of their paths, and a note if there are others: `data/train-0000.parquet`.

    Files whose paths name no split are training data. Nothing is returned for a test split that is not there.
    """
    kinds = {file: next((kind for part in file.split("/") if (kind := _kind_of_shard(part))), "") for file in files}
    present = set(kinds.values())
    first = next((kind for kind in ("train", "", "val", "test") if kind in present), "")
    others = [kind for kind in ("test", "val") if kind in present and (kind != first or len(present) == 1)]
    kind = first if wanted == "train" else next(iter(others), None)
    chosen = [file for file in files if kind is not None and kinds[file] == kind]
    if not chosen or len(chosen) == len(files):
        return chosen, ""
    return chosen, f"{len(chosen)} of {len(files)} files are used as the {wanted} split, such as {chosen[0]}."


def _kind_of_shard(part: str) -> str:
    kind = _parse(part.partition(".")[0]).kind
    return kind if kind in ("train", "test", "val") else ""

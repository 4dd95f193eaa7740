"""Annotators by other programs and models: Tesseract, captioners, similarity, chat endpoints."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from arno.bulk import Item
from arno.data_engine.annotators.annotator import FunctionAnnotator, Work
from arno.data_engine.annotators.chat import ChatAnnotator
from arno.data_engine.annotators.tesseract import Tesseract
from arno.errors import ConfigurationError, InvalidFieldError, ModelError
from PIL import Image, ImageDraw, ImageFont
from support.annotated import text
from support.images import forbid_torchvision, png

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "cat", "dog", "sits", "on", "a", "mat", "red", "car", "of", "two"),
]
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"


def work(content: bytes | None = None, position: int = 0) -> Work:
    image = png(40, 30) if content is None else content
    return Work(Item(f"image-{position}", lambda: image), position)


def annotated(function, *works, **options):
    annotator = FunctionAnnotator(function, name="one", model=function.fingerprint, **options)
    return list(annotator.annotate(works or [work()]))


@pytest.fixture(scope="module")
def tesseract():
    if shutil.which("tesseract") is None:
        if os.environ.get("CI"):
            pytest.fail("tesseract: `make tools` as root, or apt-get install tesseract-ocr")
        pytest.skip("tesseract is not installed")
    return Tesseract()


@pytest.mark.tools
def test_tesseract_reads_lines_with_their_places(tesseract):
    picture = Image.new("RGB", (400, 160), "white")
    font = ImageFont.truetype(FONT, 36)
    for words, y in (("HELLO WORLD", 20), ("GOOD DAY", 90)):
        ImageDraw.Draw(picture).text((30, y), words, "black", font)
    found = list(tesseract(picture))
    assert [one["text"] for one in found] == ["HELLO WORLD", "GOOD DAY"]
    x0, y0, *_, x1, y1 = (found[0]["quad_box"][at] for at in (0, 1, 2, 3, 4, 5))
    assert x0 == pytest.approx(32, abs=6)
    assert 20 <= y0 < y1 <= 70
    assert 200 < x1 < 340
    assert all(0.5 < one["score"] <= 1 for one in found)
    assert "eng" in tesseract.fingerprint


@pytest.mark.tools
def test_language_that_tesseract_does_not_have_is_named(tesseract):
    with pytest.raises(ConfigurationError, match="apt-get install tesseract-ocr-xyz"):
        Tesseract("eng+xyz")


def test_tesseract_that_is_missing_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="apt-get install tesseract-ocr"):
        Tesseract()


@pytest.fixture(scope="module")
def bert_words(tmp_path_factory):
    file = tmp_path_factory.mktemp("words") / "vocab.txt"
    file.write_text("\n".join(WORDS))
    return file


@pytest.fixture(scope="module")
def captioner_folder(tmp_path_factory, bert_words):
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder = tmp_path_factory.mktemp("captioner")
    torch.manual_seed(0)
    small = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    tokenizer = BertTokenizer(str(bert_words))
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    special = {"bos_token_id": first, "eos_token_id": last, "pad_token_id": 0, "sep_token_id": last}
    config = BlipConfig(
        text_config={**small, "vocab_size": len(WORDS), "encoder_hidden_size": 16, **special},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)
    pictures = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


@pytest.mark.model
def test_captioner_of_transformers_writes_a_text_with_a_score(captioner_folder):
    from arno.data_engine.annotators.captioner import Captioner

    (done,) = annotated(Captioner(str(captioner_folder)))
    assert done.failures == []
    (written,) = done.annotations.texts
    assert written.granularity == "brief"
    assert 0 <= written.provenance.score <= 1
    assert len(written.provenance.model) == 64


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory, bert_words):
    from transformers import (
        BertConfig,
        BertTokenizer,
        CLIPImageProcessor,
        CLIPVisionConfig,
        VisionTextDualEncoderConfig,
        VisionTextDualEncoderModel,
        VisionTextDualEncoderProcessor,
    )

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    small = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        CLIPVisionConfig(**small, image_size=32, patch_size=16),
        BertConfig(**small, vocab_size=len(WORDS)),
        projection_dim=16,
    )
    VisionTextDualEncoderModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = VisionTextDualEncoderProcessor(pictures, BertTokenizer(str(bert_words)))
    processor.save_pretrained(folder)
    return folder


@pytest.mark.model
def test_similarity_scores_every_text_of_an_image(clip_folder):
    from arno.data_engine.annotators.similarity import Similarity, SimilarityScorer

    similarity = Similarity(str(clip_folder))
    one, bare, broken = work(), work(position=1), work(b"no image", 2)
    one.annotations.texts += [text("the cat", "t0", score=0.5), text("a red car", "t1")]
    broken.annotations.texts.append(text("the cat"))
    scorer = SimilarityScorer(similarity, name="clip")
    done = list(scorer.annotate([one, bare, broken]))
    scores = [found.provenance.score for found in done[0].annotations.texts]
    assert all(0 <= score <= 1 for score in scores)
    assert done[1].failures == []
    assert [name for name, _ in done[2].failures] == ["clip"]
    swapped = similarity(Image.new("RGB", (40, 30)), ["a red car", "the cat"])
    assert swapped != swapped[::-1]


@pytest.mark.model
def test_other_models_see_pixels_by_pillow_as_well(captioner_folder, clip_folder, monkeypatch):
    forbid_torchvision(monkeypatch)
    from arno.data_engine.annotators.captioner import Captioner
    from arno.data_engine.annotators.similarity import Similarity

    picture = Image.new("RGB", (40, 30))
    list(Captioner(str(captioner_folder))(picture))
    assert Similarity(str(clip_folder))(picture, ["the cat"])


@pytest.mark.model
@pytest.mark.parametrize("kind", ["captioner:Captioner", "similarity:Similarity"])
def test_folder_without_such_a_model_is_refused(tmp_path, kind):
    import importlib

    module, _, name = kind.partition(":")
    loader = getattr(importlib.import_module(f"arno.data_engine.annotators.{module}"), name)
    with pytest.raises(ModelError, match=rf"no {module}.* of transformers"):
        loader(str(tmp_path))


@pytest.fixture
def endpoint():
    """A chat endpoint that answers with what it was asked; a test may have it refuse."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            server.asked.append(
                (self.path, dict(self.headers), json.loads(self.rfile.read(length)))
            )
            status, answer = server.answer
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *facts):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    server.answer = (200, {"choices": [{"message": {"content": " A cat. "}}]})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def chat(server, **options) -> ChatAnnotator:
    return ChatAnnotator(f"http://127.0.0.1:{server.server_port}/v1", "qwen", **options)


def test_chat_endpoint_describes_images_several_at_once_and_in_order(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    works = [work(position=at) for at in range(20)]
    done = annotated(chat(endpoint, granularity="detailed"), *works, parallel=4)
    assert [one.position for one in done] == list(range(20))
    assert {found.text for one in done for found in one.annotations.texts} == {"A cat."}
    assert {found.granularity for one in done for found in one.annotations.texts} == {"detailed"}
    path, headers, asked = endpoint.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    words, picture = asked["messages"][0]["content"]
    assert "two or three sentences" in words["text"]
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((500, {"error": "it broke"}), "500: .*it broke"),
        ((200, {"choices": []}), "no chat completion"),
        ((200, ["nonsense"]), "no chat completion"),
    ],
)
def test_endpoint_that_fails_fails_its_image_alone(endpoint, answer, sentence):
    endpoint.answer = answer
    (done,) = annotated(chat(endpoint))
    assert len(done.failures) == 1
    assert done.annotations.texts == []
    with pytest.raises(type(done.failures[0][1]), match=sentence):
        raise done.failures[0][1]


def test_endpoint_that_is_not_there_fails_its_image_alone():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # free again behind the block
    (done,) = annotated(ChatAnnotator(f"http://127.0.0.1:{port}/v1", "qwen"))
    assert len(done.failures) == 1


@pytest.mark.parametrize(
    ("address", "granularity", "sentence"),
    [("ftp://x", "brief", "not an address"), ("http://x/v1", "long", "granularity")],
)
def test_chat_that_cannot_be_is_refused(address, granularity, sentence):
    with pytest.raises(InvalidFieldError, match=sentence):
        ChatAnnotator(address, "qwen", granularity=granularity)

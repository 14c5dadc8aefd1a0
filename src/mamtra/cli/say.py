"""`mamtra say`: text to an audio file, to standard output, or to the loudspeakers."""

from __future__ import annotations

import codecs
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mamtra.cli.default_file import default_file, save_by_default
from mamtra.cli.options import Device, Json, Model, Runtime, Seed, Speed, Watermark, refuse_ignored, watermark_key
from mamtra.cli.tables import Bars
from mamtra.cli.tell import tell, warnings_in_words
from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mamtra.tts import Audio

DEFAULT_TEXT = "Hello! This voice runs on your own machine."
_OF_SPEECH = (
    "output",
    "voice",
    "voice_text",
    "instruct",
    "seed",
    "stream",
    "hops",
    "speed",
    "play",
    "fmt",
    "srt",
    "vtt",
    "flow_steps",
    "watermark",
    "int8_lm",
    "device",
    "quiet",
)
"""Parameters of `say` that do not change what is read."""


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("say", epilog="Example: mamtra say 'Good morning.' -o morning.mp3 --voice NAME --seed 7")(say)


def say(
    ctx: typer.Context,
    text: str | None = typer.Argument(
        None, metavar="[TEXT|-]", help="What to say; - reads standard input.", show_default=False
    ),
    output: str | None = typer.Option(
        None, "-o", "--output", metavar="FILE|-", help="wav, flac, opus, mp3, aac or pcm by suffix; - is stdout."
    ),
    voice: str | None = typer.Option(None, metavar="NAME|FILE.wav", help="Name of a voice, or a recording to clone."),
    voice_text: str | None = typer.Option(None, metavar="T", help="What is said in the recording."),
    instruct: str | None = typer.Option(None, metavar="T", help="How to speak (CosyVoice 2 models)."),
    model: Model = None,
    mode: str | None = typer.Option(
        None, metavar="M", help="Use of the voice: zero-shot, cross-lingual (not its words) or speaker (its embedding)."
    ),
    like_original: bool | None = typer.Option(
        None,
        "--like-original/--not-like-original",
        help="Text rules, prompt, joins and streaming of CosyVoice 2.",
        show_default=False,
    ),
    text_rules: str | None = typer.Option(
        None, metavar="R", help="CosyVoice 2 models: cosyvoice2, mamtra, or none (read as written)."
    ),
    seed: Seed = 0,
    stream: bool = typer.Option(
        False, "--stream", help="With -o -: write audio while it is generated and text is still arriving."
    ),
    hops: str | None = typer.Option(
        None,
        metavar="N,N,N",
        help="With --stream -o -: speech tokens (40 ms each) of the first chunk, the second, the longest.",
    ),
    speed: Speed = 1.0,
    play: bool = typer.Option(False, "--play", help="Play the audio; without -o no file is written."),
    fmt: str | None = typer.Option(None, "--format", metavar="F", help="Audio format, where the suffix does not tell."),
    srt: Path | None = typer.Option(None, "--srt", metavar="FILE", help="Write subtitles too, as SubRip."),
    vtt: Path | None = typer.Option(None, "--vtt", metavar="FILE", help="Write subtitles too, as WebVTT."),
    lexicon: str | None = typer.Option(
        None, metavar="FILE", help="Your own pronunciations, one word<TAB>phonemes a line."
    ),
    date_order: str | None = typer.Option(None, metavar="auto|mdy|dmy", help="How to read dates such as 1/2/2024."),
    show_text: bool = typer.Option(False, "--show-text", help="Print what would be read, and speak nothing."),
    runtime: Runtime = None,
    flow_steps: int | None = typer.Option(
        None,
        metavar="N",
        min=1,
        help="Steps of the flow; fewer are faster (the embedded voice: 10, with the runtime onnx 2).",
    ),
    int8_lm: bool | None = typer.Option(
        None,
        "--int8-lm/--float-lm",
        help="With the runtime onnx: a faster language model (the default), or torch's tokens for a seed.",
    ),
    device: Device = None,
    watermark: Watermark = False,
    as_json: Json = False,
    quiet: bool = typer.Option(False, "-q", "--quiet", help="Print nothing but errors."),
) -> None:
    """Speak TEXT, a greeting where there is none, to speech.wav, or speech-2.wav and so on where there is one already."""
    if show_text:
        refuse_ignored(ctx, "with --show-text, which speaks nothing", *_OF_SPEECH)
        _show_text(read_text(text), model, lexicon, date_order, as_json)
        return
    if output != "-":
        refuse_ignored(ctx, "without -o -, because a file is written once it is complete", "stream")
    if not stream:
        refuse_ignored(ctx, "without --stream", "hops")
    from mamtra.audio.io import check_destination, format_of

    at_once = stream
    arriving = at_once and text == "-" and sys.stdin is not None
    words: str | Iterator[str] = read_arriving() if arriving else read_text(text)
    target = (None if play else default_file("speech", format_of("-", fmt))) if output is None else output
    chosen = format_of("-" if target is None else target, fmt)
    captions = {path: form for path, form in ((srt, "srt"), (vtt, "vtt")) if path is not None}
    for path in (target, *captions):
        if path is not None:
            check_destination(path)
    if play:
        from mamtra.cli.player import need_player

        player = need_player()

    from mamtra.synthesis.hops import HopSchedule
    from mamtra.tts import load

    schedule = None if hops is None else HopSchedule.parse(hops)
    profile = {"like_original": like_original, "text_rules": text_rules, "flow_steps": flow_steps, "int8_lm": int8_lm}
    tts = load(model, runtime=runtime, device=device, lexicon=lexicon, date_order=date_order, **profile)
    tts.ways.prepare()  # the text front end is loaded beside it
    speaker = tts.voice(voice, voice_text)
    for sentence in () if quiet or as_json else speaker.advice:
        tell(f"Advice: {sentence}")
    options = {"instruct": instruct, "mode": mode, "seed": seed, "speed": speed, "hops": schedule}
    with warnings_in_words(quiet):
        arriving_chunks = tts.stream(words, speaker, whole_sentences=not at_once, **options)
        chunks = _spoken(arriving_chunks, None if arriving else len(words), quiet or as_json)
        if watermark:
            from mamtra.synthesis.audio import marked

            chunks = marked(chunks, watermark_key())
        if at_once:
            audio = _write_while_speaking(chunks, chosen, tts.sample_rate)
        else:
            audio = _join(list(chunks))
            if target is not None and output is None:
                target = save_by_default(audio, "speech", chosen)
            elif target is not None:
                audio.save(target, chosen)
    for path, form in captions.items():
        from mamtra.synthesis.subtitles import save_subtitles

        save_subtitles(tts.words(audio), path, form)
    if play:
        _play(audio, player, target)
    _tell(audio, target, tts.model.name, as_json, quiet)


def _show_text(text: str, model: str | None, lexicon: str | None, date_order: str | None, as_json: bool) -> None:
    from mamtra.text.split import nothing_to_say
    from mamtra.tts import load

    parts = load(model, lexicon=lexicon, date_order=date_order).explain(text)
    if not parts:
        raise nothing_to_say()
    if as_json:
        print(json.dumps([part._asdict() for part in parts], ensure_ascii=False))
        return
    for part in parts:
        for line in filter(None, [part.text, part.phonemes and f"/{part.phonemes}/"]):
            print(printable(line, len(line)))
        if part.unread:
            print(f"(not read: {', '.join(printable(each) for each in part.unread)})")


def _play(audio: Audio, player: tuple[str, ...], target: str | None) -> None:
    """Play; where that fails and the audio is in no file, it is put into one.

    Raises:
        MamTraError: the player fails.
    """
    from mamtra.cli.player import play_audio

    try:
        play_audio(audio, player)
    except MamTraError as error:
        kept = target or save_by_default(audio, "speech")
        raise MamTraError(f"{player[0]} could not play the sound; it is in {kept}.") from error


def read_text(text: str | None) -> str:
    """The text to speak: the argument, standard input for `-` or where something is piped in, else a greeting.

    Raises:
        MamTraError: the text is empty, or standard input is not UTF-8.
    """
    if text is None and (sys.stdin is None or sys.stdin.isatty()):
        return DEFAULT_TEXT
    if text is None or text == "-":
        try:
            piped = sys.stdin.read()
            piped.encode()  # where the locale smuggles wrong bytes through, they show here
        except UnicodeError as error:
            raise MamTraError("Standard input is not UTF-8 text; convert it first.") from error
        if text is None and not piped:
            return DEFAULT_TEXT
        text = piped
    if not text.strip():
        raise MamTraError("There is no text to speak; write it after `say`, or pipe it in with `say -`.")
    return text


def read_arriving() -> Iterator[str]:
    """Standard input as it arrives, in parts of any size.

    Raises:
        MamTraError: it is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while data := sys.stdin.buffer.read1(65536):
            if part := decoder.decode(data):
                yield part
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise MamTraError("Standard input is not UTF-8 text; convert it first.") from error


def _spoken(chunks: Iterator[Audio], characters: int | None, quiet: bool) -> Iterator[Audio]:
    """Chunks of the stream, with a progress bar on standard error where it is a terminal."""
    done = 0
    with Bars("Speaking", quiet=quiet) as bars:
        for chunk in chunks:
            done += len(chunk.text)
            bars.count(done, characters)
            yield chunk


def _join(chunks: list[Audio]) -> Audio:
    from mamtra.tts import Audio

    return Audio.joined(chunks)


def _write_while_speaking(chunks: Iterable[Audio], fmt: str, sample_rate: int) -> Audio:
    """Put each chunk on standard output as it comes. (To a file only the finished whole is ever written.)"""
    from mamtra.audio.formats import StreamEncoder
    from mamtra.runtime.files import write_bytes

    encoder = StreamEncoder(sample_rate, fmt)
    kept = []
    for chunk in chunks:
        kept.append(chunk)
        write_bytes("-", encoder.write(chunk.samples))
    write_bytes("-", encoder.close())
    return _join(kept)


def _tell(audio: Audio, target: str | None, model: str, as_json: bool, quiet: bool) -> None:
    facts = {
        "file": None if target in (None, "-") else str(Path(target)),
        "seconds": round(audio.seconds, 3),
        "rtf": round(audio.rtf, 4),
        "ttfa_ms": round(audio.ttfa_ms, 1),
        "tokens": audio.tokens,
        "seed": audio.seed,
        "model": model,
        "voice": audio.voice,
        "finish_reason": audio.finish_reason,
    }
    if as_json:
        # standard output may carry the audio itself
        print(json.dumps(facts), file=sys.stderr if target == "-" else sys.stdout)
        return
    if not quiet:
        place = {None: "played", "-": "standard output"}.get(target, target)
        line = f"{place}: {audio.seconds:.1f} s, voice {audio.voice}, seed {audio.seed}, {audio.rtf:.2f} of real time"
        tell(line)
    if audio.finish_reason == "length" and not quiet:
        tell("mamtra: A sentence was cut off at the length limit; try another seed.")

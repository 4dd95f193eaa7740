"""`python -m chaos.page FOLDER`: judge a kept run again, and write what it went through as a page.

The folder is that of `--keep`. The page holds the conditions of the run, the verdict, and a plot of
how long callers felt each disruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import click
from chaos import schedule
from chaos.history import History
from chaos.run import Facts
from chaos.schedule import Part
from chaos.verdict import Outage, Verdict, judge

_PLOT = "chaos-outages.png"


def judged(folder: Path) -> tuple[Facts, Verdict]:
    """Read a run that was kept, and judge its history.

    Args:
        folder: Where the run left its history, its schedule and its facts.
    """
    facts = Facts.load(folder / "run.json")
    verdict = judge(
        History.load(folder / "history.jsonl"),
        schedule.load(folder / "schedule.json"),
        done=facts.done,
        store=facts.store,
        began_s=facts.began_s,
    )
    return facts, verdict


def page(facts: Facts, verdict: Verdict) -> str:
    """Return the page in Markdown."""
    rows = "\n".join(_row(part, verdict.outages) for part in Part)
    report = "\n".join(line.rstrip() for line in verdict.lines())
    load = facts.load_average
    command = f"python -m chaos --seconds {facts.seconds:g} --seed {facts.seed}"
    return f"""# Chaos for {facts.seconds / 60:.0f} minutes

`{command}` at commit {facts.commit}: two gateways, two workers, {facts.brokers} broker of
{facts.bus} and one redis-server, asked {facts.rate_per_s:g} times a second, on {facts.core_count}
cores with a load average of {load[0]:.1f} at the start and {load[1]:.1f} at the end.

Clients submit jobs and wait for calls, repeat requests with the same idempotency key, cancel,
delete, and share large images. The checker judges the history of the run, which holds every call
and every state that a client saw. `python -m chaos.page` writes this page from a run that was kept
with `--keep`.

```text
{report}
```

## What callers felt

The longest time without an acceptance, and without an answer, after each disruption and before the
next. Disruptions overlap: a part that is killed while another is away prolongs that outage. A part
that was killed stays away for up to three seconds, a frozen one for longer than the others wait.

| disrupted | disruptions | no acceptance: median, p90, longest | no answer: the same |
| --- | --- | --- | --- |
{rows}

![Length of each outage, by the minute of its disruption](benchmarks/{_PLOT})
"""


def draw(verdict: Verdict, path: Path) -> None:
    """Draw how long each disruption was felt, by the minute at which it was made."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    for axes, what in zip(panels, ("accepting_s", "answering_s"), strict=True):
        for part in Part:
            felt = [one for one in verdict.outages if one.disruption.part is part]
            minutes = [one.disruption.at_s / 60 for one in felt]
            axes.scatter(minutes, [getattr(one, what) for one in felt], s=12, label=str(part))
        axes.set_yscale("symlog", linthresh=0.1)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("no acceptance, s")
    panels[1].set_ylabel("no answer, s")
    panels[1].set_xlabel("minute of the disruption")
    figure.legend(
        *panels[0].get_legend_handles_labels(), ncols=len(Part), loc="outside upper center"
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _row(part: Part, outages: Sequence[Outage]) -> str:
    felt = [one for one in outages if one.disruption.part is part]
    accepting = _spread([one.accepting_s for one in felt])
    return f"| {part} | {len(felt)} | {accepting} | {_spread([one.answering_s for one in felt])} |"


def _spread(seconds: Sequence[float]) -> str:
    if len(seconds) < 2:
        return ", ".join(f"{one:.1f} s" for one in seconds)
    p90 = quantiles(seconds, n=10)[-1]
    return f"{median(seconds):.1f}, {min(p90, max(seconds)):.1f}, {max(seconds):.1f} s"


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--docs", default=Path("docs"), type=click.Path(path_type=Path), show_default=True)
def main(folder: Path, docs: Path) -> None:
    """Write docs/chaos.md and its plot from a run that was kept in FOLDER."""
    run = folder / "run"
    if not (run / "run.json").exists():
        raise click.ClickException(f"{folder}: no run/run.json; give the folder of --keep")
    facts, verdict = judged(run)
    (docs / "benchmarks").mkdir(parents=True, exist_ok=True)
    draw(verdict, docs / "benchmarks" / _PLOT)
    (docs / "chaos.md").write_text(page(facts, verdict), encoding="utf-8")
    click.echo(f"{docs / 'chaos.md'}: verdict {'kept' if verdict.kept else 'BROKEN'}")


if __name__ == "__main__":
    main()

"""A report as Markdown, for a terminal, a repository or an answer in a chat."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from xner_label.benchmark.report import Report, Row
from xner_label.benchmark.weaknesses import Probe, Weakness
from xner_label.wording import counted


def markdown(report: Report) -> str:
    """The tables of a report: one per dataset, averages, what was left out, advice."""
    blocks: list[str] = []
    for name, of_dataset in groupby(report.rows, key=lambda row: row.data):
        rows = list(of_dataset)
        blocks.append(f"## {name}\n\n" + _rows([row for row in rows if not row.published]))
        if errors := _errors(rows):
            blocks.append(errors)
        if published := [row for row in rows if row.published]:
            blocks.append(_published(published))
    if report.averages:
        lines = ["| system | judged | mean F1 | 95 % |", "|---|---|---|---|"]
        lines += [f"| {a.system} | {a.kind} | {a.f1:.3f} | {_interval(a.ci95)} |" for a in report.averages]
        blocks.append("## Averages\n\n" + "\n".join(lines))
    if report.left_out:
        lines = [f"- {item.data}, {item.system}: {item.reason}" for item in report.left_out]
        blocks.append("## Left out\n\n" + "\n".join(lines))
    blocks += [_probe(probe) for probe in report.probes]
    if report.advice is not None:
        blocks.append("## What to use\n\n" + advice_line(report))
    blocks.append(f"`{report.signature}`")
    return "\n\n".join(blocks) + "\n"


def advice_line(report: Report) -> str:
    """The advice in one sentence; empty where there is none."""
    advice = report.advice
    if advice is None:
        return ""
    line = f"{advice.system} (F1 {advice.f1:.3f}, 95 % {_interval(advice.ci95)}): {advice.why}"
    if advice.best != advice.system:
        low, high = advice.behind_best_ci95
        line += f"; to the best, {advice.best}: {advice.behind_best:+.3f} ({low:+.3f} .. {high:+.3f})"
    return line + "."


def stage_costs(rows: Sequence[Row]) -> list[str]:
    """What the stages took, each once: ``aligner eflomal: 12.1 s, 310 MiB``."""
    lines: dict[str, None] = {}
    for row in rows:
        for role, cost in row.stages.items():
            if cost.texts:
                choice = getattr(row, role.replace("-", "_")) or ""
                asked = f", {cost.usage.words()}" if cost.usage is not None else ""
                took = f"{cost.seconds:.1f} s, {cost.mib:.0f} MiB, {counted(cost.texts, 'text')}{asked}"
                lines[f"{role} {choice}: {took}"] = None
    return list(lines)


def _rows(rows: Sequence[Row]) -> str:
    lines = [
        "| system | judged | F1 | 95 % | P | R | to the best | 95 % | n | failed | s | MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row.system, row.kind, f"{row.f1:.3f}", _interval(row.ci95)]
        cells += [f"{row.precision or 0.0:.3f}", f"{row.recall or 0.0:.3f}"]
        if row.to_best is None or not row.to_best.f1:
            cells += ["", ""]
        else:
            low, high = row.to_best.ci95
            cells += [f"{row.to_best.f1:+.3f}", f"{low:+.3f} .. {high:+.3f}"]
        cells += [str(row.n), str(row.failed), f"{row.seconds or 0.0:.2f}", f"{row.mib or 0.0:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    costs = [f"- {line}" for line in stage_costs(rows)]
    labels = sorted({label for row in rows for label in row.per_label})
    lines += ["", f"| F1 by label | {' | '.join(labels)} |", "|---|" + "---|" * len(labels)]
    for row in rows:
        values = [f"{row.per_label[label].f1:.3f}" if label in row.per_label else "" for label in labels]
        lines.append(f"| {row.system} | {' | '.join(values)} |")
    return "\n".join([*lines, *([""] if costs else []), *costs])


def _errors(rows: Sequence[Row]) -> str:
    """Errors by stage of the rows that errors can be traced in."""
    traced = [row for row in rows if row.errors is not None and row.noise is None]
    stages = sorted({stage.stage for row in traced if row.errors for stage in row.errors.stages})
    if not stages:
        return ""
    lines = [f"| errors by stage | {' | '.join(stages)} |", "|---|" + "---|" * len(stages)]
    for row in traced:
        by_stage = {stage.stage: stage.errors for stage in row.errors.stages} if row.errors else {}
        lines.append(f"| {row.system} | {' | '.join(str(by_stage.get(stage, 0)) for stage in stages)} |")
    return "\n".join(lines)


def weakness_words(weakness: Weakness) -> str:
    """``label PER``, ``construction "one word"``."""
    return f"{weakness.group} {weakness.value}" if weakness.group == "label" else weakness.value


def p_words(weakness: Weakness) -> str:
    """The corrected p in words."""
    return "too few to test" if weakness.p is None else f"{weakness.p:.3f}"


def _probe(probe: Probe) -> str:
    blocks = [f"## What {probe.system} is weak at on {probe.data}"]
    for phase in probe.phases:
        by_stage = ", ".join(f"{stage} {count}" for stage, count in phase.stages.items())
        lines = [
            f"Lost {phase.phase}: {phase.lost} of {counted(phase.n, 'name')}"
            + (f" ({by_stage})" if by_stage else ""),
            "",
        ]
        if phase.weaknesses:
            lines += [
                "| what | lost | 95 % | the others | lost beyond them | p (of all "
                f"{phase.tested} tested) | stages | for example |",
                "|---|---|---|---|---|---|---|---|",
            ]
        for item in phase.weaknesses:
            stages = ", ".join(f"{stage} {count}" for stage, count in item.stages.items())
            example = item.examples[0]
            cells = [
                weakness_words(item) + (" (sure)" if item.sure else ""),
                f"{item.lost} of {item.n}",
                _interval(item.ci95),
                f"{item.rest_share:.3f}",
                f"{item.excess:.1f}",
                p_words(item),
                stages,
                f"{example.text}, predicted: {example.predicted or 'nothing'}",
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _published(rows: Sequence[Row]) -> str:
    lines = [
        "Published by others, on other set-ups: what has been reached, not to be compared line by line.",
        "",
        "| system (published) | F1 | measured on |",
        "|---|---|---|",
    ]
    lines += [f"| {row.method} | {row.f1:.3f} | {row.remark} |" for row in rows]
    return "\n".join(lines)


def _interval(ci95: tuple[float, float] | None) -> str:
    return "" if ci95 is None else f"{ci95[0]:.3f} .. {ci95[1]:.3f}"

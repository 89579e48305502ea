"""A study as a page."""

from driftbus.stream.backtest.study import Study


def study_page(study: Study, source: str) -> str:
    return ""

"""`noren-company status`: where this company stands, from its own files, and the one thing to do next.

Promises: nobody is asked, nothing is changed, and no number of people or records is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from noren_client import alignment, budget, campaign_files, config, season_progress, worker_service
from noren_client.config import CompanyConfig
from noren_client.gate.staff import register
from noren_client.ledger_watch import LedgerWatch
from noren_client.rights import orders
from noren_client.season_progress import Progress, Stage
from noren_client.setup import doctor, hand_over, local_checks, service, wizard
from noren_client.setup.findings import State
from noren_client.setup.wizard import SetupState
from noren_core.rights.erasure.erasure_order import OrderState
from noren_core.rights.locales import Locale


class NextStep(StrEnum):
    """The one thing to do next, the most urgent first."""

    USE_OTHER_MACHINE = "use-other-machine"
    SET_UP = "set-up"
    AWAIT_APPROVAL = "await-approval"
    MEND = "mend"
    ERASE = "erase"
    ADD_STAFF = "add-staff"
    IMPORT = "import"
    INSTALL_SERVICE = "install-service"
    AWAIT_CAMPAIGN = "await-campaign"
    TRAIN = "train"
    KEEP_RUNNING = "keep-running"
    SEAL_AND_SCORE = "seal-and-score"
    FOLLOW_UP = "follow-up"


WORDS: Mapping[NextStep, tuple[str, str]] = {
    NextStep.USE_OTHER_MACHINE: (
        "This directory was handed over: use the other machine.",
        "このディレクトリは引き継ぎ済みです。引き継ぎ先のマシンをお使いください。",
    ),
    NextStep.SET_UP: (
        "Run noren-company setup with the platform's invitation file.",
        "プラットフォームの招待ファイルを用意し、noren-company setup を実行してください。",
    ),
    NextStep.AWAIT_APPROVAL: (
        "Read the fingerprint out to the platform's operator by phone, then run noren-company setup again.",
        (
            "フィンガープリントを電話でプラットフォームの担当者に読み上げ、noren-company setup をもう一度"
            "実行してください。"
        ),
    ),
    NextStep.MEND: (
        "Run noren-company doctor: something on this machine has to be mended first.",
        "noren-company doctor を実行してください。このマシンに先に直すべき点があります。",
    ),
    NextStep.ERASE: (
        "Run noren-company rights erase: an erasure order is waiting.",
        "noren-company rights erase を実行してください。未処理の消去指示があります。",
    ),
    NextStep.ADD_STAFF: (
        "Add the first member of staff: noren-company staff add NAME --roles company-admin.",
        "最初の担当者を登録してください: noren-company staff add 名前 --roles company-admin",
    ),
    NextStep.IMPORT: (
        "Import your applicants: noren-company import FILE.",
        "応募者のファイルを取り込んでください: noren-company import ファイル",
    ),
    NextStep.INSTALL_SERVICE: (
        (
            "Install the service, so that training rounds and daily work are not missed: "
            "noren-company service install."
        ),
        "サービスを入れてください。入れないと学習や毎日の作業が行われません: noren-company service install",
    ),
    NextStep.AWAIT_CAMPAIGN: (
        "When the platform names a campaign, look at its plan and sign it: noren-company accept NAME.",
        "キャンペーン名が届いたら、内容を確認して署名してください: noren-company accept 名前",
    ),
    NextStep.TRAIN: (
        "Take part in the training of {campaign}: noren-company train {campaign}.",
        "{campaign} の学習に参加してください: noren-company train {campaign}",
    ),
    NextStep.KEEP_RUNNING: (
        "Nothing to do: the worker answers the training rounds of {campaign}; keep this machine on.",
        "作業はありません。ワーカーが {campaign} の学習に応答しています。電源を切らないでください。",
    ),
    NextStep.SEAL_AND_SCORE: (
        (
            "Seal the decisions about {campaign}'s applicants (noren-company decisions seal), then run "
            "noren-company score {campaign}."
        ),
        (
            "{campaign} の選考結果を封印し(noren-company decisions seal)、noren-company score {campaign} を"
            "実行してください。"
        ),
    ),
    NextStep.FOLLOW_UP: (
        "Follow up those who have an offer, one at a time: noren-company show {campaign}.",
        "内定者のフォローを一人ずつ進めてください: noren-company show {campaign}",
    ),
}


def report(company_dir: Path, *, locale: Locale, clock: Callable[[], float] = time.time) -> dict[str, Any]:
    """Everything at once; `next` is one sentence.

    Raises:
        ConfigurationError: if the configuration is damaged, or the passphrase of the keys is missing.
        VerificationError: with code ACCOUNTANT_RESET, if the odometer cannot be relied on.
    """
    step, campaign = next_step(company_dir, clock=clock)
    found: dict[str, Any] = {
        "directory": str(company_dir.resolve()),
        "next": sentence(step, locale, campaign=campaign),
        "next_step": step.value,
    }
    if step in {NextStep.USE_OTHER_MACHINE, NextStep.SET_UP}:
        return {
            "state": "handed-over" if step is NextStep.USE_OTHER_MACHINE else SetupState.NEW.value
        } | found
    settings = config.load(company_dir)
    known = {
        "company": settings.company,
        "platform": settings.platform,
        "state": wizard.state_of(company_dir).value,
        "certificate_valid_until": (local_checks.certificate_dates(company_dir) or (0, 0))[1],
        "worker": "running" if worker_service.is_running(company_dir) else "not running",
        "unit": "installed" if service.installed_scope() else "not installed",
    }
    return known | _of_season(company_dir, settings) | found


def next_step(company_dir: Path, *, clock: Callable[[], float] = time.time) -> tuple[NextStep, str]:
    """What to do next, and the campaign that it is about, if it is about one."""
    if (company_dir / config.FILE_NAME).exists() and hand_over.read_state(company_dir) is not None:
        return NextStep.USE_OTHER_MACHINE, ""
    state = wizard.state_of(company_dir)
    if state is not SetupState.ENROLLED:
        return (NextStep.SET_UP if state is SetupState.NEW else NextStep.AWAIT_APPROVAL), ""
    if any(finding.state is State.FAIL for finding in doctor.local(company_dir, clock=clock)):
        return NextStep.MEND, ""
    campaigns = [season_progress.progress(company_dir, name) for name in campaign_files.accepted(company_dir)]
    return next(_steps(company_dir, campaigns))


def sentence(step: NextStep, locale: Locale, *, campaign: str = "") -> str:
    """The step in words."""
    english, japanese = WORDS[step]
    return (japanese if locale is Locale.JA else english).format(campaign=campaign)


def _steps(company_dir: Path, campaigns: list[Progress]) -> Iterator[tuple[NextStep, str]]:
    """Whatever is to be done, the most urgent first; there is always something."""
    if any(_has_open_order(company_dir, item.campaign) for item in campaigns):
        yield NextStep.ERASE, ""
    if not register(company_dir).members():
        yield NextStep.ADD_STAFF, ""
    if not (company_dir / alignment.APPLICANTS_FILE).exists():
        yield NextStep.IMPORT, ""
    is_working = worker_service.is_running(company_dir)
    if service.is_systemd_running() and service.installed_scope() is None and not is_working:
        yield NextStep.INSTALL_SERVICE, ""
    for item in campaigns:
        if item.stage in {Stage.ACCEPTED, Stage.PREPARED, Stage.TRAINING}:
            is_prepared = item.stage is not Stage.ACCEPTED
            yield NextStep.KEEP_RUNNING if is_working and is_prepared else NextStep.TRAIN, item.campaign
    for item in campaigns:
        if item.stage is Stage.TRAINED:
            yield NextStep.SEAL_AND_SCORE, item.campaign
    for item in campaigns:
        if item.stage is Stage.SCORED:
            yield NextStep.FOLLOW_UP, item.campaign
    yield NextStep.AWAIT_CAMPAIGN, ""


def _has_open_order(company_dir: Path, campaign: str) -> bool:
    """Whether an order that these files know of was not carried out."""
    states = orders.kept_states(company_dir, campaign).values()
    return any(state is not OrderState.CERTIFIED for state in states)


def _of_season(company_dir: Path, settings: CompanyConfig) -> dict[str, Any]:
    """Campaigns, budget, orders, ledger."""
    names = campaign_files.accepted(company_dir)
    spent = budget.report(company_dir)["seasons"]
    return {
        "campaigns": {
            item.campaign: {
                "stage": item.stage.value,
                "rounds": item.rounds,
                "reserved": item.reserved,
                "settled": item.settled,
            }
            for item in (season_progress.progress(company_dir, name) for name in names)
        },
        "budget": {
            season: {"epsilon": known["epsilon"], "limit": f"{float(settings.limits.lifetime_epsilon):g}"}
            for season, known in spent.items()
        },
        "orders_waiting": [name for name in names if _has_open_order(company_dir, name)],
        "ledger_size": LedgerWatch(company_dir).known_tree_size,
        "ledger_proven_at": season_progress.last_contact(company_dir),
    }

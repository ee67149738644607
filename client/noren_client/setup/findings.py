"""What `noren-company doctor` says of this machine, in English and Japanese, with the line to give to IT.

A table of sentences: what was looked at and how it was found. Their blanks are filled with names of hosts,
numbers and dates, never with anything about a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from noren_core.errors import ExitCode
from noren_core.rights.locales import Locale


class Check(StrEnum):
    """What is looked at, in this order; those after ON_THE_WAY ask the network."""

    CONFIGURATION = "configuration"
    DIRECTORY = "directory"
    DISK = "disk"
    KEYS = "keys"
    CERTIFICATE = "certificate"
    LEDGER = "ledger"
    SERVICE = "service"
    PROXY = "proxy"
    TLS = "tls"
    CLOCK = "clock"
    VERSION = "version"


ASKS_NETWORK = frozenset({Check.PROXY, Check.TLS, Check.CLOCK, Check.VERSION})


class State(StrEnum):
    """How a check ended."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


class Result(StrEnum):
    """Everything that a check can find; the key of its sentences."""

    CONFIGURED = "configured"
    NOT_CONFIGURED = "not-configured"
    BAD_CONFIGURATION = "bad-configuration"
    HANDED_OVER = "handed-over"
    PRIVATE = "private"
    NOT_PRIVATE = "not-private"
    NOT_OURS = "not-ours"
    NO_DIRECTORY = "no-directory"
    ROOM = "room"
    LITTLE_ROOM = "little-room"
    NO_ROOM = "no-room"
    KEYS_SEALED = "keys-sealed"
    KEYS_PLAIN = "keys-plain"
    KEYS_MISSING = "keys-missing"
    KEYS_READABLE = "keys-readable"
    KEYS_CONVERTING = "keys-converting"
    VALID = "valid"
    ENDS_SOON = "ends-soon"
    ENDED = "ended"
    NOT_COLLECTED = "not-collected"
    FRESH = "fresh"
    STALE = "stale"
    NO_CHECKPOINT = "no-checkpoint"
    EVIDENCE = "evidence"
    RUNNING = "running"
    NOT_RUNNING = "not-running"
    SERVICE_FAILED = "service-failed"
    NOT_INSTALLED = "not-installed"
    NO_SYSTEMD = "no-systemd"
    EDITED = "edited"
    STRAIGHT = "straight"
    THROUGH_PROXY = "through-proxy"
    PROXY_NOT_REACHED = "proxy-not-reached"
    PROXY_AUTHENTICATION = "proxy-authentication"
    PROXY_REFUSED = "proxy-refused"
    PINNED = "pinned"
    NOT_REACHED = "not-reached"
    NO_TLS = "no-tls"
    INSPECTED = "inspected"
    INSPECTED_BY_OURS = "inspected-by-ours"
    OTHER_NAME = "other-name"
    ON_TIME = "on-time"
    OFF = "off"
    FAR_OFF = "far-off"
    NO_TIME = "no-time"
    SAME_VERSION = "same-version"
    OLDER = "older"
    NEWER = "newer"
    INCOMPATIBLE = "incompatible"
    NO_VERSION = "no-version"
    NOT_ASKED = "not-asked"


@dataclass(frozen=True, slots=True)
class Words:
    """What was found and the line for IT, if one is needed; both by language, with {blanks}.

    Attributes:
        exit_code: of a command, if this is the first failure.
    """

    state: State
    found_en: str
    found_ja: str
    line_en: str = ""
    line_ja: str = ""
    exit_code: ExitCode = ExitCode.CONFIGURATION


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        values: what fills the blanks of the sentences.
    """

    check: Check
    result: Result
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """OK, WARN or FAIL."""
        return WORDS[self.result].state

    @property
    def exit_code(self) -> int:
        """What a command ends with because of it."""
        return WORDS[self.result].exit_code if self.state is State.FAIL else ExitCode.DONE

    def found(self, locale: Locale) -> str:
        """What was found, in a sentence."""
        words = WORDS[self.result]
        return (words.found_ja if locale is Locale.JA else words.found_en).format(**self.values)

    def line(self, locale: Locale) -> str:
        """What to give to IT, or to do; empty if all is well."""
        words = WORDS[self.result]
        return (words.line_ja if locale is Locale.JA else words.line_en).format(**self.values)


_OK, _WARN, _FAIL = State.OK, State.WARN, State.FAIL
_INSPECTED_EN = (
    "Please take {host} port {port} (TCP, outbound) out of TLS inspection. This program accepts only the "
    "platform's own certificate authority (SHA-256 {pinned}) and uses a client certificate, so an inspected "
    "connection can never work. Name and port are all that needs to be excepted."
)
_INSPECTED_JA = (
    "{host} のポート {port}(TCP、外向き)を TLS 検査(SSL 復号)の対象から除外してください。本プログラムは"
    "プラットフォーム独自の認証局(SHA-256 {pinned})だけを受け入れ、クライアント証明書を使うため、"
    "検査された通信は"
    "成立しません。除外はこのホスト名とポートだけで足ります。"
)
_OPEN_EN = "Please allow outbound TCP from this machine to {host} port {port}; nothing needs to come in."
_OPEN_JA = (
    "このマシンから {host} のポート {port} への外向き TCP 通信を許可してください。内向きの通信は不要です。"
)

WORDS: Mapping[Result, Words] = {
    Result.CONFIGURED: Words(
        _OK,
        "config.toml is there and complete, for {company}.",
        "config.toml があり、内容に不足はありません({company})。",
    ),
    Result.NOT_CONFIGURED: Words(
        _FAIL,
        "This directory has not been set up.",
        "このディレクトリはまだ設定されていません。",
        "Run noren-company setup with the invitation file that the platform handed over.",
        "プラットフォームから受け取った招待ファイルを用意し、noren-company setup を実行してください。",
    ),
    Result.BAD_CONFIGURATION: Words(
        _FAIL,
        "config.toml cannot be used: {reason}",
        "config.toml を読み込めません: {reason}",
        "Correct the field that is named in config.toml, or restore the file from a backup.",
        "config.toml の示された項目を修正するか、バックアップからファイルを戻してください。",
    ),
    Result.HANDED_OVER: Words(
        _FAIL,
        "This directory was handed over to another machine and does nothing any more.",
        "このディレクトリは別のマシンへ引き継がれており、もう使えません。",
        "Use the new machine. If the archive was imported nowhere: noren-company hand-over take-back "
        "ARCHIVE.",
        "新しいマシンをお使いください。引き継ぎファイルをどこにも取り込んでいない場合は、noren-company "
        "hand-over "
        "take-back ARCHIVE で元に戻せます。",
    ),
    Result.PRIVATE: Words(
        _OK,
        "The directory belongs to this account and nobody else can read it.",
        "ディレクトリはこのアカウントのもので、他の利用者からは読めません。",
    ),
    Result.NOT_PRIVATE: Words(
        _FAIL,
        "Others on this machine can reach the directory (mode {mode}).",
        "このマシンの他の利用者がディレクトリに入れます(モード {mode})。",
        "chmod 700 {path}",
        "chmod 700 {path}",
    ),
    Result.NOT_OURS: Words(
        _FAIL,
        "The directory belongs to another account than the one that runs this.",
        "ディレクトリの所有者が、このコマンドを実行しているアカウントと異なります。",
        "Run noren-company as the owner of {path}, for example with sudo -u; or change its owner as root.",
        "{path} の所有者として noren-company を実行してください(例: sudo -u)。または root "
        "で所有者を変更してください。",
    ),
    Result.NO_DIRECTORY: Words(
        _FAIL,
        "There is no such directory.",
        "ディレクトリがありません。",
        "Run noren-company setup, or name the directory with --directory.",
        "noren-company setup を実行するか、--directory でディレクトリを指定してください。",
    ),
    Result.ROOM: Words(_OK, "{free} are free on its disk.", "ディスクの空きは {free} です。"),
    Result.LITTLE_ROOM: Words(
        _WARN,
        "Only {free} are free on its disk.",
        "ディスクの空きが {free} しかありません。",
        "Please give the disk that holds {path} at least {wanted} of free space.",
        "{path} のあるディスクに {wanted} 以上の空きを確保してください。",
    ),
    Result.NO_ROOM: Words(
        _FAIL,
        "Only {free} are free on its disk: a campaign's table may not fit.",
        "ディスクの空きが {free} しかなく、キャンペーンの表を保存できないおそれがあります。",
        "Please give the disk that holds {path} at least {wanted} of free space.",
        "{path} のあるディスクに {wanted} 以上の空きを確保してください。",
    ),
    Result.KEYS_SEALED: Words(
        _OK,
        "All four keys are there, encrypted under a passphrase.",
        "4 つの鍵がそろっており、パスフレーズで暗号化されています。",
    ),
    Result.KEYS_PLAIN: Words(
        _WARN,
        "All four keys are there, readable by this account only, but not encrypted.",
        "4 つの鍵がそろっており、読めるのはこのアカウントだけですが、暗号化されていません。",
        "Stop the service, then run noren-company keys protect; keep the passphrase as a systemd credential "
        "(docs/deploying.md, Protecting keys). Or put {path} on an encrypted disk.",
        "サービスを止めて noren-company keys protect を実行し、パスフレーズを systemd のクレデンシャルとして"
        "保管してください(docs/deploying.md「Protecting keys」)。または {path} "
        "を暗号化ディスクに置いてください。",
    ),
    Result.KEYS_CONVERTING: Words(
        _FAIL,
        "Encrypting the keys, or decrypting them, was interrupted.",
        "鍵の暗号化または復号が途中で止まっています。",
        "Stop the service and run noren-company keys protect again; it completes.",
        "サービスを止めて noren-company keys protect をもう一度実行してください。続きから完了します。",
    ),
    Result.KEYS_MISSING: Words(
        _FAIL,
        "{count} of the four keys are missing.",
        "4 つの鍵のうち {count} つがありません。",
        "Restore keys/ from the newest backup. If nobody enrolled yet, run noren-company setup again.",
        "最新のバックアップから keys/ を戻してください。まだ登録していない場合は noren-company setup を"
        "もう一度実行してください。",
    ),
    Result.KEYS_READABLE: Words(
        _FAIL,
        "A key or another secret can be read by others, or cannot be read by us: {reason}",
        "鍵などの秘密ファイルが他の利用者から読めるか、こちらから読めません: {reason}",
        "chmod -R go= {path}   and after that, as others may have read them: noren-company keys rotate all",
        "chmod -R go= {path}   その後、読まれたおそれがあるため noren-company keys rotate all "
        "を実行してください。",
    ),
    Result.VALID: Words(
        _OK,
        "The certificate is valid until {until}.",
        "証明書の有効期限は {until} です。",
    ),
    Result.ENDS_SOON: Words(
        _WARN,
        "The certificate ends on {until}, in {days} days.",
        "証明書の有効期限が {until}(あと {days} 日)に切れます。",
        "noren-company keys rotate tls   (before that day; afterwards only a new invitation helps)",
        "noren-company keys rotate tls   (期限前に実行してください。期限後は新しい招待が必要になります)",
    ),
    Result.ENDED: Words(
        _FAIL,
        "The certificate is not valid now (until {until}).",
        "証明書は現在有効ではありません(期限 {until})。",
        "Is this machine's clock right? If so, ask the platform to revoke the enrolment and to invite this "
        "company again under another name (docs/deploying.md, Changing keys).",
        "このマシンの時計は正しいですか。正しい場合は、登録を取り消して別名で招待し直すようプラットフォームへ"
        "ご依頼ください(docs/deploying.md「Changing keys」)。",
        ExitCode.IDENTITY,
    ),
    Result.NOT_COLLECTED: Words(
        _WARN,
        "No certificate yet: the platform has not approved, or it was not collected.",
        "証明書がまだありません。プラットフォームが承認していないか、受け取りが済んでいません。",
        "Read the fingerprint out to the platform's operator by phone, then run noren-company setup again.",
        "フィンガープリントを電話でプラットフォームの担当者に読み上げ、noren-company setup をもう一度"
        "実行してください。",
    ),
    Result.FRESH: Words(
        _OK,
        "The ledger was last proven to us {hours} hours ago (entry {size}).",
        "台帳の検証は {hours} 時間前です({size} 件目)。",
    ),
    Result.STALE: Words(
        _WARN,
        "The ledger was last proven to us {days} days ago.",
        "台帳の検証が {days} 日間行われていません。",
        "noren-company daily   and see whether the timer runs: noren-company service status",
        "noren-company daily を実行し、タイマーの状態を noren-company service status で確認してください。",
    ),
    Result.NO_CHECKPOINT: Words(
        _WARN,
        "Nothing of the ledger was proven to us yet.",
        "台帳はまだ一度も検証されていません。",
        "noren-company setup   (collecting the certificate proves the ledger for the first time)",
        "noren-company setup   (証明書の受け取り時に台帳が初めて検証されます)",
    ),
    Result.EVIDENCE: Words(
        _FAIL,
        "The platform showed two ledgers that contradict each other.",
        "プラットフォームが、互いに矛盾する 2 つの台帳を示しました。",
        "Keep the files in {path} and give them to the auditor. Do not go on with the campaign.",
        "{path} のファイルを保存し、監査人に渡してください。キャンペーンは続けないでください。",
        ExitCode.VERIFICATION,
    ),
    Result.RUNNING: Words(
        _OK, "The worker runs, and so does the daily timer.", "ワーカーと毎日のタイマーが動いています。"
    ),
    Result.NOT_RUNNING: Words(
        _WARN,
        "The units are installed, but {unit} is {state}.",
        "ユニットは入っていますが、{unit} が {state} です。",
        "{systemctl} enable --now {unit}",
        "{systemctl} enable --now {unit}",
    ),
    Result.SERVICE_FAILED: Words(
        _FAIL,
        "{unit} failed.",
        "{unit} が失敗しています。",
        "journalctl {journal} -u {unit} -n 50   and then   {systemctl} restart {unit}",
        "journalctl {journal} -u {unit} -n 50   で原因を確認し、{systemctl} restart {unit} "
        "を実行してください。",
    ),
    Result.NOT_INSTALLED: Words(
        _WARN,
        "No unit is installed: nothing runs after a restart of this machine.",
        "ユニットが入っていません。このマシンを再起動すると何も動きません。",
        "noren-company service install   (as root; or with --user)",
        "noren-company service install   (root で実行。または --user を付けて実行)",
    ),
    Result.NO_SYSTEMD: Words(
        _WARN,
        "This machine has no running systemd.",
        "このマシンでは systemd が動いていません。",
        "Keep 'noren-company run' running under your own service manager, and run 'noren-company "
        "daily' once a "
        "day.",
        "お使いのサービス管理の仕組みで noren-company run を常駐させ、noren-company daily を 1 日 1 回"
        "実行してください。",
    ),
    Result.EDITED: Words(
        _WARN,
        "{unit} is not as this program wrote it.",
        "{unit} が、本プログラムの書いた内容と異なります。",
        "Keep your changes with systemctl edit {unit}, then: noren-company service install --replace",
        "変更は systemctl edit {unit} で残し、noren-company service install --replace を実行してください。",
    ),
    Result.STRAIGHT: Words(_OK, "No proxy is used.", "プロキシは使っていません。"),
    Result.THROUGH_PROXY: Words(
        _OK,
        "The proxy {proxy} lets us through to the platform.",
        "プロキシ {proxy} 経由でプラットフォームに接続できます。",
    ),
    Result.PROXY_NOT_REACHED: Words(
        _FAIL,
        "The proxy {proxy} does not answer.",
        "プロキシ {proxy} が応答しません。",
        "Please check: is {proxy} the right proxy, and may this machine reach it? (noren-company setup "
        "--proxy)",
        "プロキシ {proxy} は正しいでしょうか。このマシンから接続できるかご確認ください。"
        "(変更: noren-company setup --proxy)",
        ExitCode.NETWORK,
    ),
    Result.PROXY_AUTHENTICATION: Words(
        _FAIL,
        "The proxy {proxy} asks for a user and password, or for others.",
        "プロキシ {proxy} が認証を求めています(設定されていないか、誤っています)。",
        "Please let this machine pass {proxy} to {host} port {port} without authentication, or give it an "
        "account with Basic authentication (noren-company setup --proxy http://user:password@host:port).",
        "このマシンが {proxy} を認証なしで通過し {host} のポート {port} に接続できるようにするか、"
        "Basic 認証のアカウントを発行してください(noren-company setup --proxy http://user:password@host:port)。",
        ExitCode.NETWORK,
    ),
    Result.PROXY_REFUSED: Words(
        _FAIL,
        "The proxy {proxy} does not let us through to {host} port {port}.",
        "プロキシ {proxy} が {host} のポート {port} への接続を許可していません。",
        "Please allow CONNECT to {host} port {port} on {proxy}.",
        "{proxy} で {host} のポート {port} への CONNECT を許可してください。",
        ExitCode.NETWORK,
    ),
    Result.PINNED: Words(
        _OK,
        "All three ports of {host} present the platform's own certificate.",
        "{host} の 3 つのポートすべてで、プラットフォーム本来の証明書が確認できました。",
    ),
    Result.NOT_REACHED: Words(
        _FAIL,
        "{host} port {port} is not reached.",
        "{host} のポート {port} に接続できません。",
        _OPEN_EN,
        _OPEN_JA,
        ExitCode.NETWORK,
    ),
    Result.NO_TLS: Words(
        _FAIL,
        "{host} port {port} answers, but not with TLS.",
        "{host} のポート {port} は応答しますが、TLS ではありません。",
        "Please let TLS pass unchanged to {host} port {port}: something on the way answers in its place.",
        "{host} のポート {port} への TLS 通信をそのまま通してください。途中の機器が代わりに応答しています。",
        ExitCode.NETWORK,
    ),
    Result.INSPECTED: Words(
        _FAIL,
        "{host} port {port} presents a certificate of '{issuer}' (SHA-256 {seen}), not of the platform: "
        "something on the way opens TLS.",
        "{host} のポート {port} の証明書は「{issuer}」(SHA-256 {seen})が発行したもので、"
        "プラットフォームのもの"
        "ではありません。途中の機器が TLS を復号しています。",
        _INSPECTED_EN,
        _INSPECTED_JA,
        ExitCode.VERIFICATION,
    ),
    Result.INSPECTED_BY_OURS: Words(
        _FAIL,
        "{host} port {port} presents a certificate of your own company's authority ('{issuer}', SHA-256 "
        "{seen}): your network opens TLS.",
        "{host} のポート {port} の証明書は自社の認証局「{issuer}」(SHA-256 {seen})が発行したものです。"
        "社内ネットワークが TLS を復号しています。",
        _INSPECTED_EN,
        _INSPECTED_JA,
        ExitCode.VERIFICATION,
    ),
    Result.OTHER_NAME: Words(
        _FAIL,
        "{host} port {port} presents a certificate of the platform's authority that is not valid for "
        "this name "
        "or time.",
        "{host} のポート {port} の証明書はプラットフォームの認証局のものですが、この名前または現在の時刻では"
        "有効ではありません。",
        "Is this machine's clock right, and does {host} resolve to the platform? If so, tell the platform.",
        "このマシンの時計と {host} の名前解決をご確認ください。"
        "問題がなければプラットフォームへお知らせください。",
        ExitCode.VERIFICATION,
    ),
    Result.ON_TIME: Words(
        _OK,
        "This machine's clock and the platform's differ by {seconds} s.",
        "このマシンの時計とプラットフォームの時計の差は {seconds} 秒です。",
    ),
    Result.OFF: Words(
        _WARN,
        "This machine's clock differs from the platform's by {seconds} s.",
        "このマシンの時計がプラットフォームの時計と {seconds} 秒ずれています。",
        "timedatectl set-ntp true   (and allow this machine to reach a time server, UDP port 123)",
        "timedatectl set-ntp true   (時刻サーバー(UDP ポート 123)への通信も許可してください)",
    ),
    Result.FAR_OFF: Words(
        _FAIL,
        "This machine's clock differs from the platform's by {seconds} s: signatures and certificates fail.",
        "このマシンの時計がプラットフォームの時計と {seconds} 秒ずれており、署名や証明書の検証に失敗します。",
        "timedatectl set-ntp true   (and allow this machine to reach a time server, UDP port 123)",
        "timedatectl set-ntp true   (時刻サーバー(UDP ポート 123)への通信も許可してください)",
    ),
    Result.NO_TIME: Words(
        _WARN,
        "The platform did not say what time it is.",
        "プラットフォームの時刻を確認できませんでした。",
        "timedatectl status   (is the clock synchronised?)",
        "timedatectl status   (時刻が同期しているかご確認ください)",
    ),
    Result.SAME_VERSION: Words(
        _OK,
        "Release {ours}; the platform has {theirs}.",
        "リリース {ours} です(プラットフォームは {theirs})。",
    ),
    Result.OLDER: Words(
        _WARN,
        "Release {ours}; the platform has the newer {theirs}.",
        "リリース {ours} です。プラットフォームはより新しい {theirs} です。",
        "scripts/install-company --upgrade   (with release {theirs}; stop the service first)",
        "scripts/install-company --upgrade   (リリース {theirs}。先にサービスを止めてください)",
    ),
    Result.NEWER: Words(
        _WARN,
        "Release {ours} is newer than the platform's {theirs}.",
        "リリース {ours} は、プラットフォームの {theirs} より新しいものです。",
        "Nothing to do here; tell the platform's operator that companies already have {ours}.",
        "こちらでの作業はありません。プラットフォームの担当者に、{ours} を使用中であることをお伝えください。",
    ),
    Result.INCOMPATIBLE: Words(
        _FAIL,
        "Release {ours} and the platform's {theirs} do not speak the same protocol.",
        "リリース {ours} とプラットフォームの {theirs} は互換性がありません。",
        "scripts/install-company --upgrade   (with release {theirs}; stop the service first)",
        "scripts/install-company --upgrade   (リリース {theirs}。先にサービスを止めてください)",
        ExitCode.NETWORK,
    ),
    Result.NO_VERSION: Words(
        _WARN,
        "Release {ours}; the platform does not say which it has.",
        "リリース {ours} です。プラットフォームのリリースは確認できませんでした。",
        "Ask the platform's operator which release it has.",
        "プラットフォームの担当者にリリースをご確認ください。",
    ),
    Result.NOT_ASKED: Words(
        _WARN,
        "Not asked: what comes before it has to be right first.",
        "前の項目が解決していないため、確認していません。",
        "Mend what failed above, then run noren-company doctor again.",
        "上の項目を解決してから、noren-company doctor をもう一度実行してください。",
    ),
}

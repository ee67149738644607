"""The company's twin: written before rows are used, growing with each reading, compared on the premises."""

from __future__ import annotations

from pathlib import Path

import pytest
from loopback_custodian import NOW, make_company

from noren_client.rights import provision_records
from noren_core.crypto.sealed_table import TableContext
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ids import TableKind
from noren_core.rights.erasure.provision_record import KEPT_SECONDS, ProvisionTwin, comparison

TABLE = TableContext(company="alpha", campaign="spring", kind=TableKind.TRAIN, table_id=b"\7" * 16)
TAGS = [bytes([number]) * 16 for number in range(4)]


@pytest.fixture
def company_dir(tmp_path: Path) -> Path:
    return make_company(tmp_path / "company")


def test_a_twin_has_what_was_received_from_whom_and_when(company_dir: Path) -> None:
    """One file for each table, secret, with the rows; read again, rows are added and none is taken away."""
    provision_records.write_twin(company_dir, TABLE, TAGS[:2], now=NOW)
    provision_records.write_twin(company_dir, TABLE, TAGS[1:3], now=NOW + 50)
    (twin,) = provision_records.twins(company_dir)
    assert (twin.provider, twin.recipient, twin.received_at) == ("job-site", "alpha", NOW)
    assert twin.tags == tuple(TAGS[:3])
    (path,) = (company_dir / "rights").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert ProvisionTwin.from_bytes(path.read_bytes()) == twin


def test_it_is_compared_and_goes_after_three_years(company_dir: Path) -> None:
    """Rows that the platform wrote down are a match, another row is none; then it is kept until its day."""
    provision_records.write_twin(company_dir, TABLE, TAGS[:2], now=NOW)
    file = comparison(TABLE.table_id, TAGS, salt=bytes(32))
    provision_records.compare(company_dir, file, TABLE.table_id)
    with pytest.raises(LocalProtocolError):
        provision_records.compare(company_dir, file, bytes(16))
    with pytest.raises(VerificationError):
        provision_records.compare(
            company_dir, comparison(TABLE.table_id, TAGS[1:], salt=bytes(32)), TABLE.table_id
        )
    provision_records.expire(company_dir, now=NOW + KEPT_SECONDS)
    assert len(provision_records.twins(company_dir)) == 1
    provision_records.expire(company_dir, now=NOW + KEPT_SECONDS + 1)
    assert provision_records.twins(company_dir) == []


def test_a_damaged_twin_is_said(company_dir: Path) -> None:
    """Nothing is written over what the law asks for."""
    provision_records.write_twin(company_dir, TABLE, TAGS, now=NOW)
    (path,) = (company_dir / "rights").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LocalProtocolError):
        provision_records.write_twin(company_dir, TABLE, TAGS, now=NOW)
    with pytest.raises(DataError):
        ProvisionTwin.from_bytes(b"{}")

import pytest

from tests.unit.plan.builders import envelope, plan_of, system
from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import VirtualSystemCollection
from virt_ova.plan.eulas import check_eulas, eula_texts
from virt_ova.plan.options import InstallOptions

VAPP = VirtualSystemCollection(
    id="vapp", eulas=("one",), content=(system(eulas=("two", " one\n")), system(eulas=(" ",)))
)


def test_each_text_once_in_document_order() -> None:
    assert eula_texts(envelope(VAPP)) == ("one", "two")
    assert eula_texts(envelope(system())) == ()


def test_they_must_be_accepted() -> None:
    check_eulas(envelope(VAPP), accepted=True)
    check_eulas(envelope(system()), accepted=False)
    for package, words in (
        (VAPP, "the package has 2 licence texts, and nobody accepted them"),
        (system(eulas=("one",)), "the package has 1 licence text, and nobody accepted it"),
    ):
        with pytest.raises(PlanError) as caught:
            check_eulas(envelope(package), accepted=False)
        assert (caught.value.code, caught.value.message) == ("E_EULA", words)
        assert caught.value.hint == "Read with 'virt-ova inspect --eulas', then install with --accept-eulas."


@pytest.mark.parametrize("accepted", [True, False])
def test_a_plan_can_be_made_without_and_says_whether_they_are_accepted(*, accepted: bool) -> None:
    plan = plan_of(envelope(VAPP), options=InstallOptions(accept_eulas=accepted))
    assert plan.eulas_accepted is accepted
    told = [finding.message for finding in plan.findings if finding.code == "EULA"]
    assert told == ["the package has 2 licence texts, which must be accepted to install it"]

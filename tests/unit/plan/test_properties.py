"""What a package asks for, what it is given, and what each machine is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.unit.plan.builders import envelope, item, plan_of, system
from virt_ova.errors import DescriptorError, PlanError
from virt_ova.ovf.envelope import (
    DeploymentOption,
    Disk,
    Envelope,
    Product,
    Property,
    ResourceType,
    VirtualHardware,
    VirtualSystem,
    VirtualSystemCollection,
)
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import Entity, InstallPlan, Setting
from virt_ova.plan.properties import check_given, properties_of, surroundings, unanswered, with_passwords

SETTABLE = "'domain', 'hostname', 'port', 'pw'"
OPTIONS = (DeploymentOption(id="small"), DeploymentOption(id="big", default=True))


def prop(key: str, value: str | None = None, *, fixed: bool = False, **fields: object) -> Property:
    return Property(key=key, value=value, user_configurable=not fixed, **fields)  # type: ignore[arg-type]


def asking(*properties: Property, id: str = "vm") -> VirtualSystem:  # noqa: A002 - OVF's word
    return system(id=id, products=(Product(properties=properties),))


def vapp(
    *properties: Property, content: tuple[VirtualSystem | VirtualSystemCollection, ...]
) -> VirtualSystemCollection:
    return VirtualSystemCollection(id="vapp", products=(Product(properties=properties),), content=content)


def planned(package: Envelope, **values: str) -> InstallPlan:
    return plan_of(package, options=InstallOptions(properties=values))


def settings(entity: Entity) -> dict[str, str | None]:
    return {setting.key: setting.value for setting in entity.properties}


def found(plan: InstallPlan, code: str) -> list[str]:
    return [finding.message for finding in plan.findings if finding.code == code]


class TestGiven:
    PACKAGE = envelope(
        vapp(
            prop("domain"),
            content=(
                asking(prop("hostname"), prop("serial", "7", fixed=True), id="web"),
                asking(prop("hostname"), prop("port", type="uint16"), prop("pw", password=True), id="db"),
            ),
        )
    )

    def test_names(self) -> None:
        names = [each.names for each in properties_of(self.PACKAGE)]
        assert names[:2] == [("domain", "vapp:domain"), ("hostname", "web:hostname")]
        check_given(self.PACKAGE, {"domain": "d", "hostname": "h", "db:hostname": "x", "port": "80", "pw": "p"})

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (
                {"host\x1bname": "x"},
                r"the package has no property 'host\x1bname', those that can be set are: " + SETTABLE,
            ),
            (
                {"cache:hostname": "x"},
                "the package has no property 'cache:hostname', those that can be set are: " + SETTABLE,
            ),
            ({"serial": "8"}, "the property 'serial' was given a value, and the package lets nobody change it"),
            ({"port": "x"}, "the value of 'port' does not fit: expected a whole number from 0 to 65535, found 'x'"),
        ],
    )
    def test_refused(self, values: Mapping[str, str], message: str) -> None:
        for refused in (lambda: check_given(self.PACKAGE, values), lambda: planned(self.PACKAGE, **values)):
            with pytest.raises(PlanError) as caught:
                refused()
            assert (caught.value.code, caught.value.message) == ("E_PROPERTY", message)

    def test_a_package_without_properties_takes_none(self) -> None:
        with pytest.raises(PlanError, match=r"^the package has no property 'a', those that can be set are: none$"):
            check_given(envelope(system()), {"a": "b"})

    def test_a_key_that_one_machine_fixes_is_set_for_the_others(self) -> None:
        package = envelope(vapp(content=(asking(prop("a", "1", fixed=True), id="x"), asking(prop("a", "1"), id="y"))))
        (collection,) = planned(package, a="2").entities
        assert [settings(entity) for entity in collection.content] == [{"a": "1"}, {"a": "2"}]


class TestUnanswered:
    PACKAGE = envelope(
        asking(
            prop("open"),
            prop("set", "x"),
            prop("empty", ""),
            prop("unfit", "", qualifiers="MinLen(1)"),
            prop("fixed", fixed=True),
            prop("pw", password=True),
            prop("blank-pw", "", password=True),
            prop("set-pw", "secret", password=True),
            prop("by-option", option_values={"small": "1"}),
        ),
        deployment_options=OPTIONS,
    )

    def keys(self, option: str | None = None, **values: str) -> list[str]:
        options = InstallOptions(properties=values, deployment_option=option)
        return [each.definition.key for each in unanswered(self.PACKAGE, options)]

    def test_what_only_the_user_can_give(self) -> None:
        assert self.keys() == ["open", "unfit", "pw", "blank-pw", "by-option"]
        assert self.keys("small") == ["open", "unfit", "pw", "blank-pw"]
        assert self.keys(open="", unfit="a", pw="b", **{"vm:blank-pw": "c"}) == ["by-option"]


class TestPlan:
    def test_nothing_is_told_when_nothing_is_asked(self) -> None:
        assert plan_of(system()).entities == ()

    def test_own_values_given_ones_and_missing_ones(self) -> None:
        package = envelope(
            asking(
                prop("a", "package"),
                prop("b", "package"),
                prop("c"),
                prop("n", "-1", qualifiers="MinValue(0)"),
                prop("a", "again"),
            )
        )
        plan = planned(package, b="user")
        assert plan.entities == (
            Entity(
                id="vm",
                machine="vm",
                properties=(
                    Setting(key="a", value="package"),
                    Setting(key="b", value="user"),
                    Setting(key="n", value="-1"),
                ),
            ),
        )
        assert found(plan, "PROPERTY_MISSING") == ["the property 'c' has no value: the guest is not told of it"]
        assert found(plan, "PROPERTY_DEFAULT") == [
            "told as the package has it, but the value of 'n' does not fit: expected 0 or more, found '-1'"
        ]

    def test_the_deployment_option_decides(self) -> None:
        package = envelope(
            asking(prop("a", "1", option_values={"big": "2"}), prop("b", option_values={"small": "3"})),
            deployment_options=OPTIONS,
        )
        by_default, small = (
            plan_of(package, options=InstallOptions(deployment_option=option)) for option in (None, "small")
        )
        assert [settings(plan.entities[0]) for plan in (by_default, small)] == [{"a": "2"}, {"a": "1", "b": "3"}]
        assert [plan.deployment_option for plan in (by_default, small)] == ["big", "small"]
        assert found(by_default, "OPTION_DEFAULT") == ["the deployment option 'big' is taken, of 'small', 'big'"]
        assert found(small, "OPTION_DEFAULT") == []

    def test_a_plan_holds_no_password_and_shows_none(self) -> None:
        package = envelope(
            vapp(
                prop("root", "hunter2", password=True),
                content=(
                    asking(prop("pw", password=True), prop("url", "db://${root}@x"), prop("open", password=True)),
                ),
            )
        )
        plan = planned(package, pw="hunter3")
        (collection,) = plan.entities
        assert collection.properties == (Setting(key="root", password=True),)
        assert collection.content[0].properties == (Setting(key="pw", password=True), Setting(key="url", password=True))
        assert "hunter" not in repr(plan) + repr(InstallOptions(properties={"pw": "hunter3"}))
        assert found(plan, "PROPERTY_MISSING") == ["the property 'open' has no value: the guest is not told of it"]


class TestReferences:
    def test_to_properties_of_the_collections_around(self) -> None:
        inner = vapp(
            prop("c", "${a}-${b}"), content=(asking(prop("d", "${a} ${c} ${none} ${d} $a"), prop("e", "${a}")),)
        )
        outer = VirtualSystemCollection(
            id="outer", products=(Product(properties=(prop("a", "1"), prop("b", "${a}"))),), content=(inner,)
        )
        (top,) = planned(envelope(outer), e="${a}").entities
        assert settings(top) == {"a": "1", "b": "${a}"}  # only what is around, not what is beside
        assert settings(top.content[0]) == {"c": "1-${a}"}
        assert settings(top.content[0].content[0]) == {"d": "1 1-${a} ${none} ${d} $a", "e": "${a}"}


class TestSurroundings:
    ENTITIES = (
        Entity(
            id="outer",
            properties=(
                Setting(key="a", value="outer"),
                Setting(key="b", value="outer"),
                Setting(key="c", value="outer"),
            ),
            content=(
                Entity(
                    id="inner",
                    properties=(Setting(key="b", value="inner"), Setting(key="c", value="inner")),
                    content=(
                        Entity(id="web", machine="web", properties=(Setting(key="c", value="own"),)),
                        Entity(id="db", machine="vapp-db", properties=(Setting(key="d", value="db"),)),
                    ),
                ),
                Entity(id="log", machine="log"),
            ),
        ),
        Entity(id="lone", machine="lone", properties=(Setting(key="a", value="lone"),)),
    )

    def test_a_machine_takes_over_what_it_does_not_override_and_knows_its_siblings(self) -> None:
        own, siblings = surroundings(self.ENTITIES, "web")
        assert (own.id, settings(own)) == ("web", {"c": "own", "b": "inner", "a": "outer"})
        assert [(each.id, settings(each)) for each in siblings] == [("db", {"d": "db"})]
        own, siblings = surroundings(self.ENTITIES, "log")
        assert settings(own) == {"a": "outer", "b": "outer", "c": "outer"}
        assert [(each.id, settings(each)) for each in siblings] == [("inner", {"b": "inner", "c": "inner"})]

    def test_a_machine_in_no_collection_has_no_siblings(self) -> None:
        own, siblings = surroundings(self.ENTITIES, "lone")
        assert (settings(own), siblings) == ({"a": "lone"}, ())

    def test_a_machine_that_is_not_there(self) -> None:
        with pytest.raises(PlanError, match=r"^the plan does not say what the machine 'x' is told$") as caught:
            surroundings(self.ENTITIES, "x")
        assert caught.value.code == "E_PLAN_SOURCE"


class TestPasswords:
    PACKAGE = envelope(
        asking(
            prop("user", "root"),
            prop("pw", password=True, qualifiers="MinLen(8)"),
            prop("own", "default", password=True, option_values={"big": "default of big"}),
        ),
        deployment_options=OPTIONS,
    )

    def test_they_come_back_from_where_they_came(self) -> None:
        plan = planned(self.PACKAGE, pw="password1")
        (entity,) = with_passwords(plan, self.PACKAGE, {"vm:pw": "password2", "user": "ignored"})
        assert settings(entity) == {"user": "root", "pw": "password2", "own": "default of big"}
        assert "password2" not in repr(entity)

    def test_one_that_is_not_to_be_had(self) -> None:
        plan = planned(self.PACKAGE, pw="password1")
        with pytest.raises(PlanError) as caught:
            with_passwords(plan, self.PACKAGE, {})
        assert (caught.value.code, caught.value.message, caught.value.hint) == (
            "E_PROPERTY",
            "the password 'pw' is not known: a plan does not hold it",
            "Give it with --property-file, in the environment, or when asked on a terminal.",
        )

    def test_one_that_the_plan_was_made_without(self) -> None:
        with pytest.raises(PlanError) as caught:
            with_passwords(planned(self.PACKAGE), self.PACKAGE, {"pw": "password1"})
        assert (caught.value.code, caught.value.message, caught.value.hint) == (
            "E_PROPERTY",
            "the password 'pw' was given, and the plan was made without it",
            "Give it to 'virt-ova plan' as well, which keeps its place and not its value.",
        )

    def test_one_that_does_not_fit(self) -> None:
        message = "^the value of 'pw' does not fit: expected at least 8 characters, found one that is not shown$"
        with pytest.raises(PlanError, match=message):
            with_passwords(planned(self.PACKAGE), self.PACKAGE, {"pw": "hunter2"})


class TestCapacity:
    """A blank disk can be as large as a property says (DSP0243 9.1)."""

    def planned(self, text: str | None, **values: str) -> InstallPlan:
        size = prop("size", text)
        return planned(
            envelope(
                replace(
                    asking(size),
                    hardware=(VirtualHardware(items=(item(ResourceType.DISK, "1", disk="blank"),)),),
                ),
                disks=(Disk(id="blank", capacity_property="size", capacity_units="byte * 2^20"),),
            ),
            **values,
        )

    def test_it_is_the_packages_or_the_users(self) -> None:
        assert self.planned(" 8 ").transfers[0].capacity_bytes == 8 << 20
        assert self.planned("8", size="9").transfers[0].capacity_bytes == 9 << 20

    def test_one_that_is_no_size(self) -> None:
        with pytest.raises(DescriptorError) as caught:
            self.planned("much")
        assert caught.value.code == "E_OVF_VALUE"
        assert str(caught.value) == (
            "capacity of disk 'blank': property 'size': found 'much', expected a whole number up to 2^63-1"
        )

    def test_none_at_all(self) -> None:
        with pytest.raises(PlanError, match=r"^Item 1: disk is the blank disk 'blank', whose capacity is not known$"):
            self.planned(None)

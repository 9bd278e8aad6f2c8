"""The courses of the demonstration: their trees, and the relation sets that follow from a tree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Content:
    """Something to read, watch or answer; an optional one is not needed to complete the course."""

    content_id: str
    title: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a course, which may hold smaller units."""

    unit_id: str
    title: str
    contents: tuple[Content, ...]
    units: tuple["Unit", ...] = ()

    def all_contents(self) -> frozenset[Content]:
        """Give the contents of this unit and of all units in it."""
        return frozenset(self.contents).union(*(unit.all_contents() for unit in self.units))

    def walk(self) -> Iterator["Unit"]:
        """Give this unit and all units in it."""
        yield self
        for unit in self.units:
            yield from unit.walk()


@dataclass(frozen=True, slots=True)
class Course:
    """A course and the one batch of it in which the demonstration's learners are enrolled."""

    course_id: str
    batch_id: str
    title: str
    units: tuple[Unit, ...]
    retired: bool = False

    def all_units(self) -> tuple[Unit, ...]:
        """Give every unit, the nested ones after those that hold them."""
        return tuple(inner for unit in self.units for inner in unit.walk())

    def all_contents(self) -> frozenset[Content]:
        """Give every content of the course."""
        return frozenset[Content]().union(*(unit.all_contents() for unit in self.units))

    def required(self, node_id: str) -> frozenset[str]:
        """Give the ids of the contents that complete the course or one of its units."""
        nodes = {self.course_id: self.all_contents()} | {unit.unit_id: unit.all_contents() for unit in self.all_units()}
        return frozenset(content.content_id for content in nodes[node_id] if not content.optional)

    def units_above(self, content_id: str) -> frozenset[str]:
        """Give the ids of all units in which a content is used; none for a content of another course."""
        return frozenset(
            unit.unit_id
            for unit in self.all_units()
            if any(content.content_id == content_id for content in unit.all_contents())
        )

    def relation_sets(self) -> Mapping[str, frozenset[str]]:
        """Give the sets of the relation cache by their keys (docs/reconciliation.md, relations).

        A retired course has lost its leaf nodes and optional nodes there.
        """
        sets = {
            f"{self.course_id}:{content.content_id}:ancestors": self.units_above(content.content_id) | {self.course_id}
            for content in self.all_contents()
        }
        if self.retired:
            return sets
        nodes = {self.course_id: self.all_contents()} | {unit.unit_id: unit.all_contents() for unit in self.all_units()}
        for node_id, contents in nodes.items():
            sets[f"{self.course_id}:{node_id}:leafnodes"] = frozenset(content.content_id for content in contents)
            optional = frozenset(content.content_id for content in contents if content.optional)
            if optional:
                sets[f"{self.course_id}:{node_id}:optionalnodes"] = optional
        return sets


WELCOME = Content("do_2140007321", "Why numbers matter (video)")
STORY = Content("do_2140007322", "A classroom story")
FIRST_QUIZ = Content("do_2140007323", "Check yourself: beginnings")
COUNTING = Content("do_2140007324", "Counting with objects")
PLACE_VALUE = Content("do_2140007325", "Tens and ones (video)")
BUNDLES = Content("do_2140007326", "Activity: bundles of sticks")
NUMBER_LINE = Content("do_2140007327", "Activity: a number line on the floor")
ADDING = Content("do_2140007328", "Adding within one hundred")
SUBTRACTING = Content("do_2140007329", "Taking away, step by step")
SECOND_QUIZ = Content("do_2140007330", "Check yourself: operations")
PLAN = Content("do_2140007331", "Your own lesson plan")
FINAL_TEST = Content("do_2140007332", "Final test")
FURTHER_READING = Content("do_2140007333", "Further reading", optional=True)

#: In the order of the course; the last one is the optional one.
NUMERACY_CONTENTS = (
    *(WELCOME, STORY, FIRST_QUIZ, COUNTING, PLACE_VALUE, BUNDLES, NUMBER_LINE),
    *(ADDING, SUBTRACTING, SECOND_QUIZ, PLAN, FINAL_TEST, FURTHER_READING),
)

NUMERACY = Course(
    "do_2140007310",
    "0140007319",
    "Numeracy for primary teachers",
    (
        Unit("do_2140007311", "Beginnings", (WELCOME, STORY, FIRST_QUIZ)),
        Unit(
            "do_2140007312",
            "Counting and place value",
            (COUNTING, PLACE_VALUE),
            (Unit("do_2140007313", "Activities for the classroom", (BUNDLES, NUMBER_LINE)),),
        ),
        Unit("do_2140007314", "Adding and subtracting", (ADDING, SUBTRACTING, SECOND_QUIZ)),
        Unit("do_2140007315", "Into your classroom", (PLAN, FINAL_TEST, FURTHER_READING)),
    ),
)

SURVEY = Content("do_2140007421", "Opinion survey")
RETIRED = Course(
    "do_2140007410",
    "0140007419",
    "Teaching in 2019 (retired)",
    (Unit("do_2140007411", "Looking back", (SURVEY,)),),
    retired=True,
)

#: The known examples (docs/reconciliation.md, known examples): contents that are used in several units.
_FIRST, _SECOND, _THIRD = (
    Content(f"do_11260735471149056012{number}", f"Content {number}") for number in (299, 300, 301)
)
SHARED_CONTENT = Course(
    "do_1127212344324751361295",
    "0126083288437637121",
    "Known example: a content in two units",
    (
        Unit("do_course_unit1", "Unit 1", (_FIRST,)),
        Unit("do_course_unit2", "Unit 2", (_SECOND,)),
        Unit("do_course_unit3", "Unit 3", (_THIRD, _SECOND)),
    ),
)
_R1, _R2, _R3 = (Content(f"do_R{number}", f"Resource {number}") for number in (1, 2, 3))
SMALL = Course(
    "course001",
    "Batch1",
    "Known example: three resources",
    (Unit("unit1", "Unit 1", (_R1, _R3)), Unit("unit2", "Unit 2", (_R2, _R3))),
)

COURSES = (NUMERACY, RETIRED, SHARED_CONTENT, SMALL)

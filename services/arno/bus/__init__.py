"""The bus: records go from gateways to workers, each delivered at least once.

Read in this order: ``ports`` (what every bus can do), ``offsets`` (why nothing is lost when records
finish in any order), ``window`` (back-pressure), then an adapter: ``kafka`` for production,
``redis_streams`` for one machine. ``docs/delivery.md`` says what happens when parts fail.
"""

from arno.bus.factory import make_admin, make_consumer, make_letter_box, make_publisher
from arno.bus.ports import (
    DEAD,
    Consumer,
    ConsumerStatistics,
    Delivery,
    Lane,
    Letter,
    LetterBox,
    Publisher,
    Receipt,
    Record,
    TopicAdmin,
    topic_name,
)
from arno.bus.settings import BusSettings

__all__ = [
    "DEAD",
    "BusSettings",
    "Consumer",
    "ConsumerStatistics",
    "Delivery",
    "Lane",
    "Letter",
    "LetterBox",
    "Publisher",
    "Receipt",
    "Record",
    "TopicAdmin",
    "make_admin",
    "make_consumer",
    "make_letter_box",
    "make_publisher",
    "topic_name",
]

"""The bus on Apache Kafka: topics for lanes, a consumer group for the workers."""

from arno.bus.kafka.admin import KafkaTopicAdmin
from arno.bus.kafka.consumer import KafkaConsumer
from arno.bus.kafka.dead_letters import KafkaDeadLetterQueue
from arno.bus.kafka.publisher import KafkaPublisher

__all__ = ["KafkaConsumer", "KafkaDeadLetterQueue", "KafkaPublisher", "KafkaTopicAdmin"]

"""What a fault of the Kafka client means to Arno's callers.

Three answers are enough: the record is too large, somebody must change a setting, or Kafka cannot
take it now. A test goes through every class of ``kafka.errors`` and fails on one that no set names.
"""

from __future__ import annotations

from kafka.errors import KafkaError

from arno.errors import (
    ArnoError,
    BackendUnavailableError,
    ConfigurationError,
    LimitExceededError,
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOO_LARGE = _names("MessageSizeTooLargeError RecordListTooLargeError")

MISCONFIGURED = _names(
    """
    AuthorizationError IllegalArgumentError IllegalSaslStateError IncompatibleBrokerVersion
    InconsistentGroupProtocolError InvalidConfigurationError InvalidGroupIdError
    InvalidPartitionsError InvalidReplicationAssignmentError InvalidReplicationFactorError
    InvalidRequiredAcksError InvalidSessionTimeoutError InvalidTopicError InvalidTimestampError
    KafkaConfigurationError PolicyViolationError SaslAuthenticationFailedError
    SecurityDisabledError UnacceptableCredentialError UnrecognizedBrokerVersion
    UnsupportedAssignorError UnsupportedCodecError UnsupportedCompressionTypeError
    UnsupportedForMessageFormatError UnsupportedSaslMechanismError UnsupportedVersionError
    """
)

# What a broker or a group says while it changes, and what cannot answer our calls but exists.
UNAVAILABLE = _names(
    """
    RetriableError BrokerNotAvailableError CommitFailedError CorruptRecordError
    CorruptRecordException DuplicateSequenceNumberError FencedInstanceIdError
    FencedMemberEpochError GroupIdNotFoundError GroupMaxSizeReachedError IllegalGenerationError
    IllegalStateError InvalidCommitOffsetSizeError InvalidFetchRequestError
    InvalidProducerEpochError InvalidProducerIdMappingError InvalidReceiveError
    InvalidRecordError InvalidRequestError KafkaProtocolError LogTruncationError
    MemberIdRequiredError NewLeaderElectedError NoError NoOffsetForPartitionError NonEmptyGroupError
    OffsetMetadataTooLargeError OffsetOutOfRangeError OperationNotAttemptedError
    OutOfOrderSequenceNumberError PositionOutOfRangeError ProducerFencedError QuotaViolationError
    RebalanceInProgressError StaleBrokerEpochError StaleControllerEpochError
    StaleMemberEpochError TopicAlreadyExistsError UnknownBrokerIdError UnknownError
    UnknownMemberIdError UnknownProducerIdError UnreleasedInstanceIdError

    InvalidTransactionTimeoutError InvalidTxnStateError TransactionAbortableError
    TransactionAbortedError TransactionCoordinatorFencedError TransactionalIdNotFoundError

    DelegationTokenAuthDisabledError DelegationTokenExpiredError DelegationTokenNotFoundError
    DelegationTokenOwnerMismatchError DelegationTokenRequestNotAllowedError
    InvalidPrincipalTypeError PrincipalDeserializationFailureError

    BrokerIdNotRegisteredError DuplicateBrokerRegistrationError DuplicateResourceError
    DuplicateVoterError FeatureUpdateFailedError FencedStateEpochError GroupSubscribedToTopicError
    InconsistentClusterIdError InconsistentVoterSetError IneligibleReplicaError
    InvalidRecordStateError InvalidRegistrationError InvalidUpdateVersionError
    InvalidVoterKeyError LogDirNotFoundError MismatchedEndpointTypeError
    NoReassignmentInProgressError OffsetMovedToTieredStorageError ReassignmentInProgressError
    ResourceNotFoundError SnapshotNotFoundError TelemetryTooLargeError
    TopicDeletionDisabledError UnknownControllerIdError UnknownSubscriptionIdError
    UnsupportedEndpointTypeError VoterNotFoundError
    """
)


def translate(error: KafkaError) -> ArnoError:
    """Return what to raise for a client's fault; the nearest named ancestor decides."""
    for ancestor in type(error).__mro__:
        name = ancestor.__name__
        if name in TOO_LARGE:
            return LimitExceededError(field="record", problem=f"refused by Kafka: {error}")
        if name in MISCONFIGURED:
            return ConfigurationError(f"kafka: {error}", fault=type(error).__name__)
        if name in UNAVAILABLE:
            break
    return BackendUnavailableError(f"kafka: {error}", fault=type(error).__name__)

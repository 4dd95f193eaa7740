"""What a fault of the Kafka client means to Arno's callers.

There are three meanings: the record is too large, a setting must change, or Kafka cannot take the
record now. A test goes through every class of ``kafka.errors`` and fails on one in no set.
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

# What a broker or a group answers while it changes, and errors that our calls cannot get.
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


def translate(fault: KafkaError) -> ArnoError:
    """Return the error to raise for a fault; its nearest ancestor in a set decides."""
    for ancestor in type(fault).__mro__:
        name = ancestor.__name__
        if name in TOO_LARGE:
            return LimitExceededError(field="record", problem=f"refused by Kafka: {fault}")
        if name in MISCONFIGURED:
            return ConfigurationError(f"kafka: {fault}", fault=type(fault).__name__)
        if name in UNAVAILABLE:
            break
    return BackendUnavailableError(f"kafka: {fault}", fault=type(fault).__name__)

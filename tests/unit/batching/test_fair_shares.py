from arno.batching.fairness import REMEMBERED_MAX, FairShares, LanePolicy


def take_turns(shares: FairShares, costs: dict[str, float], turn_count: int) -> list[str]:
    turns = []
    for _ in range(turn_count):
        name = min(costs, key=shares.spent)
        shares.charge(name, costs[name], costs)
        turns.append(name)
    return turns


def test_shares_are_of_cost_and_not_of_turns():
    turns = take_turns(FairShares(), {"long": 30.0, "short": 10.0}, 40)
    assert (turns.count("long"), turns.count("short")) == (10, 30)


def test_an_idle_name_hoards_no_credit():
    shares = FairShares()
    take_turns(shares, {"busy": 1.0}, 1000)
    assert take_turns(shares, {"busy": 1.0, "new": 1.0}, 10).count("new") <= 6


def test_a_name_that_leaves_in_debt_comes_back_in_debt():
    shares = FairShares()
    shares.charge("greedy", 100.0, ["greedy", "modest"])
    take_turns(shares, {"modest": 1.0}, 10)
    assert take_turns(shares, {"greedy": 1.0, "modest": 1.0}, 80).count("greedy") == 0


def test_names_without_debt_are_forgotten():
    shares = FairShares()
    shares.charge("once", 1.0, ["once"])
    take_turns(shares, {"a": 1.0, "b": 1.0}, 100)
    assert len(shares) <= 2


def test_of_very_many_names_only_the_deepest_debts_are_remembered():
    shares = FairShares()
    shares.charge("deep", 50.0, ["deep", "other"])
    for i in range(REMEMBERED_MAX + 10):
        shares.charge(f"tenant-{i}", 1.0, [f"tenant-{i}"])
    assert len(shares) == REMEMBERED_MAX
    assert shares.spent("deep") == 50.0


def test_an_unknown_lane_has_weight_one():
    assert LanePolicy({"interactive": 4.0}).weight("surprise") == 1.0

// Package storetest is the conformance suite that every database behind package
// store must pass, and the checks that hold after any scenario. It is for tests,
// ours and yours.
//
// Reading order: storetest.go starts the suite; jobs.go, commit.go,
// groups.go, deliveries.go, replicas.go, retention.go and budget.go exercise one subject each;
// invariants.go checks a whole database; postgres.go starts a private server.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
)

// Open opens a fresh, empty database with the options.
type Open func(t *testing.T, o store.Options) *store.Store

// Exercise runs the suite. A new rule about the store is added here or not at all.
func Exercise(t *testing.T, open Open) {
	t.Helper()
	for name, test := range map[string]func(*world){
		"TrackingIsIdempotent":                    trackingIsIdempotent,
		"TrackingManyIsOneTransaction":            trackingManyIsOneTransaction,
		"UntrackForgetsWatchedJobsOnly":           untrackForgetsWatchedJobsOnly,
		"ListsAreFilteredAndPaged":                listsAreFilteredAndPaged,
		"AbsentNumbersStayAbsent":                 absentNumbersStayAbsent,
		"StatusChangeIsStoredWithItsHistory":      statusChangeIsStoredWithItsHistory,
		"FinishStoresEventAndDeliveriesTogether":  finishStoresEventAndDeliveriesTogether,
		"RunsAreReadByShape":                      runsAreReadByShape,
		"HeartbeatTellsOfTheOthers":               heartbeatTellsOfTheOthers,
		"HandedBackJobsAreAnybodys":               handedBackJobsAreAnybodys,
		"FinishingTwiceIsFinishingOnce":           finishingTwiceIsFinishingOnce,
		"UntrackForgetsWhatWasAnnounced":          untrackForgetsWhatWasAnnounced,
		"UntrackedJobIsNotFinished":               untrackedJobIsNotFinished,
		"DataFileIsKeptOnlyWhenAsked":             dataFileIsKeptOnlyWhenAsked,
		"OverdueIsAnnouncedBesideTheOutcome":      overdueIsAnnouncedBesideTheOutcome,
		"ConcurrentWritesShareTransactions":       concurrentWritesShareTransactions,
		"DeliveriesAreClaimedOnceAndInOrder":      deliveriesAreClaimedOnceAndInOrder,
		"SettlingRecordsTheAttempt":               settlingRecordsTheAttempt,
		"SettlingTwiceRecordsOnce":                settlingTwiceRecordsOnce,
		"ExhaustionIsAnnouncedInItsTransaction":   exhaustionIsAnnouncedInItsTransaction,
		"PausedDestinationHoldsItsDeliveries":     pausedDestinationHoldsItsDeliveries,
		"RetryAfterStopsTheWholeDestination":      retryAfterStopsTheWholeDestination,
		"ReplayKeepsIdsAndHistory":                replayKeepsIDsAndHistory,
		"ManyReplaysGoOutInGroups":                manyReplaysGoOutInGroups,
		"GroupIsAnnouncedWhenItsLastJobEnds":      groupIsAnnouncedWhenItsLastJobEnds,
		"GroupIsAnnouncedAtTheFirstFailure":       groupIsAnnouncedWhenItsFirstJobFailsAndNotAgain,
		"JobsThatJoinLaterAreANextRound":          jobsThatJoinLaterAreANextRound,
		"UntrackedJobLeavesItsGroup":              untrackedJobLeavesItsGroup,
		"ReplicaThatLostItsClaimAnnouncesNoGroup": replicaThatLostItsClaimAnnouncesNoGroup,
		"JobsThatEndAtOnceAnnounceTheirGroupOnce": jobsThatEndAtOnceAnnounceTheirGroupOnce,
		"RetentionForgetsGroups":                  retentionForgetsGroups,
		"DeliveryStatsLeaveNothingOpenOut":        deliveryStatsLeaveNothingOpenOut,
		"DeliveredAreCountedUntilForgotten":       deliveredAreCountedUntilForgotten,
		"DeadReplicaIsInheritedWhole":             deadReplicaIsInheritedWhole,
		"ReplicaThatLostItsClaimCommitsNothing":   replicaThatLostItsClaimCommitsNothing,
		"LiveReplicaIsNotInherited":               liveReplicaIsNotInherited,
		"RegisterMayBeRepeated":                   registerMayBeRepeated,
		"ReleaseFreesAtOnce":                      releaseFreesAtOnce,
		"WhatADeadReplicaWasSendingIsSentAgain":   whatADeadReplicaWasSendingIsSentAgain,
		"RetentionDeletesWhatIsOldAndOwesNothing": retentionDeletesWhatIsOldAndOwesNothing,
		"JobForgottenByRetentionCanBeTrackedAnew": jobForgottenByRetentionCanBeTrackedAnew,
		"CursorThatIsJunkIsRefusedByName":         cursorThatIsJunkIsRefusedByName,
		"HistoryOfAnAlternatingJobIsBounded":      historyOfAnAlternatingJobIsBounded,
		"BudgetIsRemembered":                      budgetIsRemembered,
		"DestinationStateIsRemembered":            destinationStateIsRemembered,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{T: t, now: time.UnixMilli(1_900_000_000_000)}
			w.Store = open(t, store.Options{Now: func() time.Time { return w.now }})
			w.register("one")
			test(w)
			CheckInvariants(t, w.Store, tenant)
		})
	}
}

const tenant = "rest.zuora.com"

// lease is how long a silent replica is believed alive, in this suite.
const lease = 30 * time.Second

// world is one test's database and clock.
type world struct {
	*testing.T
	*store.Store
	now time.Time
}

func (w *world) ctx() context.Context { return w.Context() }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) at() job.Instant { return job.At(w.now) }

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

func (w *world) register(name job.ReplicaID) {
	w.Helper()
	w.must(w.Register(w.ctx(), job.Replica{ID: name, Host: "host", Version: "test", StartedAt: w.at()}, lease, false))
}

func id(n int) job.ID { return job.ID{0: 0x3a, 14: byte(n >> 8), 15: byte(n)} }

// tracking is job n as it is tracked now.
func (w *world) tracking(n int) job.Tracking {
	return job.Tracking{
		Spec:   job.Spec{ID: id(n), Labels: job.Labels{"team": "finance"}, Destinations: nil},
		Tenant: tenant, Source: job.SourceAPI,
		TrackedAt: w.at(), DeadlineAt: w.at().Add(6 * time.Hour), AbandonAt: w.at().Add(168 * time.Hour),
	}
}

// track takes the jobs between two numbers in for the replica.
func (w *world) track(replica job.ReplicaID, from, to int) {
	w.Helper()
	var items []job.Tracking
	for n := from; n < to; n++ {
		items = append(items, w.tracking(n))
	}
	_, err := w.Track(w.ctx(), replica, items)
	w.must(err)
}

// ended is the update that finishes job n as completed.
func (w *world) ended(n int, destinations ...string) job.Update {
	rows, took := int64(n), time.Duration(n)*time.Second
	e := job.Event{
		ID: job.EventID(tenant, id(n).String(), job.EventCompleted), Type: job.EventCompleted, Tenant: tenant,
		Subject: id(n).String(), JobID: id(n), Time: w.at(), CreatedAt: w.at(), Data: []byte(`{"job":{}}`),
	}
	return job.Update{
		Tenant: tenant, ID: id(n), At: w.at(), Status: job.Completed, StatusSince: w.at(), Outcome: job.OutcomeCompleted,
		FinishedAt: w.at(), Polls: 3,
		Seen:    &job.Observation{ID: id(n), Status: job.Completed, Query: "SELECT 1", OutputRows: &rows, ProcessingTime: &took, UpdatedAt: w.now},
		History: []job.Change{{At: w.at(), Kind: job.KindFinished, Outcome: job.OutcomeCompleted}},
		Event:   &e, Destinations: destinations,
	}
}

func (w *world) commit(replica job.ReplicaID, updates ...job.Update) []error {
	w.Helper()
	results, err := w.Commit(w.ctx(), replica, updates)
	w.must(err)
	return results
}

func (w *world) job(n int) job.Job {
	w.Helper()
	j, err := w.Job(w.ctx(), tenant, id(n))
	w.must(err)
	return j
}

func (w *world) claim(replica job.ReplicaID, destination string, limit int) []job.Outgoing {
	w.Helper()
	claimed, _, err := w.ClaimDeliveries(w.ctx(), replica, destination, limit)
	w.must(err)
	return claimed
}

func (w *world) delivery(n int, destination string) job.Delivery {
	w.Helper()
	d, err := w.Delivery(w.ctx(), job.DeliveryID(job.EventID(tenant, id(n).String(), job.EventCompleted), destination))
	w.must(err)
	return d
}

func (w *world) owned(replica job.ReplicaID) int {
	w.Helper()
	n := 0
	w.must(w.Owned(w.ctx(), replica, tenant, func(job.Watch) error { n++; return nil }))
	return n
}

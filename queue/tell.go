package queue

// announce keeps an outcome for the embedder. It is told on the job's own
// goroutine, as some outcomes are found on the one that leases for all.
func (j *job) announce(a Attempt) {
	if j.q.Outcome != nil {
		j.news = append(j.news, a)
	}
}

// tell tells the embedder of outcomes, before they are recorded: what the
// process forgets after that is attempted again, and told again.
func (j *job) tell() {
	news := j.news
	j.news = nil
	for _, a := range news {
		j.tellOne(a)
	}
}

func (j *job) tellOne(a Attempt) {
	var err error // logged by recoverTo
	defer j.q.recoverTo(&err, "function for outcomes")
	j.q.Outcome(j.entry, a)
}

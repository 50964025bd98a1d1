package queue

import "container/list"

// turns are the lanes of one class that may be served. Accounts take turns,
// so that a sender with a thousand destinations has no more of a channel than
// one with a single one.
type turns struct {
	accounts  list.List // of *party
	byAccount map[string]*party
}

// party is the lanes in which a message of one account is next.
type party struct {
	account string
	lanes   list.List // of *lane
	turn    *list.Element
	newest  bool // whose turn it is, if the newest has turns
}

func (t *turns) add(l *lane) {
	account := l.account()
	p := t.byAccount[account]
	if p == nil {
		if t.byAccount == nil {
			t.byAccount = make(map[string]*party)
		}
		p = &party{account: account, newest: true}
		p.turn = t.accounts.PushBack(p)
		t.byAccount[account] = p
	}
	l.party, l.turn = p, p.lanes.PushBack(l)
}

func (t *turns) remove(l *lane) {
	p := l.party
	p.lanes.Remove(l.turn)
	l.party, l.turn = nil, nil
	if p.lanes.Len() == 0 {
		t.accounts.Remove(p.turn)
		delete(t.byAccount, p.account)
	}
}

// next returns the lane whose turn it is: the longest waiting one of the next
// account, or, if newest is set, that and the last to come by turns. For most
// of the destinations that nothing is known of and that have waited for long
// will not answer.
func (t *turns) next(newest bool) *lane {
	p := t.accounts.Front().Value.(*party)
	t.accounts.MoveToBack(p.turn)
	e := p.lanes.Front()
	if newest && p.newest {
		e = p.lanes.Back()
	} else {
		p.lanes.MoveToBack(e)
	}
	p.newest = !p.newest
	return e.Value.(*lane)
}

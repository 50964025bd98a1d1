package serve

// beginHandshake counts a TLS handshake, and cuts off the one that has lasted
// longest if there are too many. end is called when it is over.
func (s *Server) beginHandshake(c *Conn) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	element := s.shaking.PushBack(c)
	if most := s.limits.Handshakes; most >= 0 && s.shaking.Len() > most {
		longest := s.shaking.Remove(s.shaking.Front()).(*Conn)
		longest.displaced.Store(true)
		longest.raw.Close()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.shaking.Remove(element) // which does nothing if it was cut off
	}
}

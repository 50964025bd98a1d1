// Package mimefilter refuses messages for what their MIME structure says: the
// names and types of attachments, how many there are and how deep they are.
//
// A [Filter] walks the structure while the message passes (RFC 2045, 2046). It
// decodes headers, with the names in them (RFC 2047, RFC 2231), and of bodies only
// messages that lie encoded in others: what is in an archive it does not see, and an
// encrypted part it knows by its type. Refuse what may hold anything by its name
// ("*.zip") or type ("multipart/encrypted", "message/partial"), and leave the content to a virus scanner.
//
// # Who reads it otherwise
//
// Mail programs disagree about malformed messages, and a filter that reads them
// in one way can be told one name while the user sees another. So all readings
// count: a name with and without quotes, decoded and not, of
// Content-Disposition and Content-Type, of a field given twice, after the end
// of a multipart, or behind "begin 644" in a text. What has more readings than
// can be followed is refused.
//
// # Promises
//
//   - The cost is proportional to the length of the message; what is refused
//     is not looked at any further. Ten megabytes of header, 100,000 parts
//     and 10,000 nested multiparts are refused at their limits.
//   - Memory is bounded by MaxHeader and MaxDepth, whatever the length.
//   - A message without MIME is a text.
//
// # Why no library
//
// Such as enmime answer more, and pay for it: they hold the message in memory
// several times, and their cost grows with the square of the parts. Nothing
// here needs a decoded body. If yours does, ask for it in Filter.Part, when the
// limits have been kept.
package mimefilter

package control

// known is what is known of a file in control.
type known struct {
	// later marks a file that s/qmail reads and this version does not yet.
	later bool

	// secret marks a file with passwords or keys in it.
	secret bool
}

// knownFiles are the files of control that mean something; those below users
// with secrets stand here too, by their last name.
var knownFiles = map[string]known{
	"authsenders":    {secret: true},
	"badhelo":        {},
	"badloadertypes": {}, "badloadertypes.cdb": {},
	"badmailfrom":  {},
	"badmimetypes": {}, "badmimetypes.cdb": {},
	"badrcptto":        {},
	"bouncefrom":       {},
	"bouncehost":       {},
	"bouncemaxbytes":   {},
	"concurrencylocal": {}, "concurrencyremote": {},
	"databytes":        {},
	"defaultdelivery":  {},
	"doublebouncehost": {}, "doublebounceto": {},
	"envnoathost":   {},
	"helohost":      {},
	"localiphost":   {},
	"locals":        {},
	"mailfromrules": {}, "mailfromrules.cdb": {},
	"me":            {},
	"mimefilter":    {},
	"morercpthosts": {}, "morercpthosts.cdb": {},
	"percenthack":    {},
	"qmtproutes":     {},
	"queuelifetime":  {},
	"rbl":            {},
	"rcpthosts":      {},
	"recipients":     {},
	"services":       {},
	"smtpgreeting":   {},
	"smtproutes":     {}, // secret if it has a "|"
	"timeoutconnect": {}, "timeoutremote": {}, "timeoutsmtpd": {},
	"virtualdomains": {},

	"arctrusted":    {later: true},
	"authservid":    {later: true},
	"certrelay":     {later: true},
	"defaultdomain": {later: true}, "defaulthost": {later: true},
	"dkimdomains":     {later: true},
	"dkimrequire":     {later: true},
	"domaincerts":     {later: true}, // secret if it has a "|"
	"domainips":       {later: true},
	"idhost":          {later: true},
	"mtasts":          {later: true},
	"mxps":            {later: true},
	"plusdomain":      {later: true},
	"qmqpservers":     {later: true},
	"servercerts":     {later: true},
	"spfexplain":      {later: true},
	"spflocalrules":   {later: true},
	"srsdomains":      {later: true, secret: true},
	"tlsdestinations": {later: true},

	// Read by the start scripts of some installations alone.
	"concurrencyincoming": {}, "rslbserver": {}, "spfbehavior": {},

	"accounts": {secret: true},
	"authuser": {secret: true},
}

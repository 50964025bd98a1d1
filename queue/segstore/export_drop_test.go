package segstore

// WatchDir is what the drop directory is watched with.
var WatchDir = watchDir

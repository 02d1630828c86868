//! Readiness: poll, timerfd, signalfd, eventfd, inotify.

use strict; use Errno; use Fcntl ":flock"; use POSIX ();
binmode STDIN; binmode STDOUT;
my ($verb, $root, $guard, $pattern, $over, $reload, @words) = @ARGV;
sub content {
  my ($path) = @_; my $in;
  open($in, "<:raw", $path) or do { return undef if $!{ENOENT}; die "cannot read $path: $!\n" };
  local $/; my $bytes = <$in>; return defined $bytes ? $bytes : "";
}
sub put {
  my ($path, $bytes) = @_;
  if (!defined $bytes) { unlink $path or $!{ENOENT} or die "cannot remove $path: $!\n"; return }
  if ((my $folder = $path) =~ s{/[^/]+$}{}) { -d $folder or mkdir $folder or $!{EEXIST} or die "cannot make $folder: $!\n" }
  open(my $out, ">:raw", "$path.tmp.$$") or die "cannot write $path: $!\n";
  print $out $bytes and close $out or die "cannot write $path: $!\n";
  rename "$path.tmp.$$", $path or die "cannot replace $path: $!\n";
}
# Who waits for the end of somebody else's change does not wait for ever; who has to put things back does.
sub locked {
  my ($seconds) = @_;
  open(my $lock, ">", "$guard/lock") or die "cannot write $guard/lock: $!\n";
  if (!$seconds) { flock($lock, LOCK_EX) or die "cannot lock $guard/lock: $!\n"; return $lock }
  for (1 .. 10 * $seconds) { return $lock if flock($lock, LOCK_EX | LOCK_NB); select(undef, undef, undef, 0.1) }
  die "another change holds $guard/lock for $seconds seconds\n";
}
sub word { my $text = content("$guard/$_[0]"); return defined $text ? $text : "" }
# What was there first, in the order in which it was written: for each a line with path and length, and the bytes.
sub kept {
  my ($text, @all) = word("old");
  while ($text =~ s/^(\S+) (\d+|-)\n//) {
    my ($path, $length) = ($1, $2);
    push @all, [$path, $length eq "-" ? undef : substr($text, 0, $length, "")];
  }
  return @all;
}
sub same { my ($a, $b) = @_; return defined $a ? defined $b && $a eq $b : !defined $b }
sub covered {
  my ($path) = @_;
  open(my $in, "<", "/proc/self/mounts") or die "cannot read /proc/self/mounts: $!\n";
  while (<$in>) { return 1 if (split / /)[1] eq $path }
  return 0;
}
sub uncover {
  my ($path) = @_;
  while (covered($path)) { system("umount", "-l", $path) == 0 or die "cannot take away what lies over $path\n" }
}
# Until it is confirmed, a file may only lie over the old one: whatever ends this system, it starts again with the old one.
sub lay {
  my ($path, $bytes) = @_;
  return if same(content($path), $bytes);
  return put($path, $bytes) unless $over;
  uncover($path);
  return if same(content($path), $bytes);
  defined $bytes or die "$path cannot be taken away like this\n";
  (my $name = $path) =~ s{/}{_}g;
  put("$guard/$name", $bytes);
  chmod 0644, "$guard/$name";
  system("mount", "--bind", "$guard/$name", $path) == 0 or die "cannot lay the new file over $path\n";
}
sub back { my ($path, $bytes) = @_; uncover($path) if $over; put($path, $bytes) unless same(content($path), $bytes) }
# Has what the files say come into force: `before` they change, and `after`. What that says is kept.
sub force {
  my ($when) = @_;
  return 1 if $reload eq "";
  my $child = fork; defined $child or die "cannot fork: $!\n";
  if (!$child) {
    open(STDOUT, ">>", "$guard/said"); open(STDERR, ">&", \*STDOUT); open(STDIN, "<", "/dev/null");
    exec("timeout", "-k", "5", "90", "sh", "-c", $reload, "reload", $when, $guard, split / /, word("about")) or POSIX::_exit(127);
  }
  waitpid $child, 0;
  return $? == 0;
}
sub restore { force("before"); back(@$_) for reverse kept(); force("after"); forget() }
sub forget { unlink map { "$guard/$_" } "armed", "old", "about" }
-d $guard or mkdir $guard, 0700 or die "cannot make $guard: $!\n";
my $lock = locked($reload eq "" ? 20 : 240);

if ($verb ne "apply") {
  my ($token) = @words;
  my (undef, $armed) = split / /, word("armed");
  if (defined $armed && $armed eq $token) {
    if ($verb eq "confirm") {
      if ($over) { for (kept()) { my ($path, $new) = ($_->[0], content($_->[0])); back($path, $new) } }
      put("$guard/confirmed", $token); forget();
    } else { restore() }
  }
  if (word("confirmed") eq $token) { print "confirmed\n"; exit 0 }
  print "restored\n"; exit 4;
}

my ($site, $wait, @about) = @words;
my ($owner, $before) = split / /, word("armed");
if (defined $owner && $owner ne $site) { print "busy $owner\n"; exit 5 }
my @changes;
while (defined(my $head = <STDIN>)) {
  my ($name, $path, @lengths) = split / /, $head; chomp $lengths[1];
  my @texts = map { my $text; $_ eq "-" ? undef : do { read(STDIN, $text, $_) == $_ or die "cut off\n" if $_; $_ ? $text : "" } } @lengths;
  # What is written here is root's, whoever says so.
  $path =~ m{\A(?:$pattern)\z} or die "$path is no file that is changed so\n";
  push @changes, [$name, "$root/$path", @texts];
}
my @old = defined $owner ? kept() : ();
for my $change (@changes) {
  my ($name, $path, $old, $new) = @$change;
  my $now = content($path);
  if (!same($now, $old) && !same($now, $new)) { print "modified $name\n"; exit 3 }
  push @old, [$path, $now] unless grep { $_->[0] eq $path } @old;
}
my $token = "$$." . time . "." . int(rand(1000000));
my %about = map { $_ => 1 } @about, split / /, word("about");
put("$guard/about", join " ", sort keys %about);
put("$guard/old", join "", map { my ($path, $text) = @$_; defined $text ? "$path " . length($text) . "\n$text" : "$path -\n" } @old);
put("$guard/armed", "$site $token");
# Whoever asked may be cut off by what is changed: from here on it goes on alone, and is only listened to.
pipe(my $hear, my $tell) or die "cannot make a pipe: $!\n";
my $child = fork; defined $child or die "cannot fork: $!\n";
if (!$child) {
  POSIX::setsid(); close $hear;
  $SIG{PIPE} = "IGNORE";
  open(STDIN, "<", "/dev/null"); open(STDOUT, ">", "/dev/null"); open(STDERR, ">", "/dev/null");
  unlink "$guard/said";
  my $done = eval { force("before"); my $well = 1; for (@changes) { my (undef, $path, undef, $new) = @$_; lay($path, $new) } $well = force("after"); $well };
  my $why = $@;
  if (!$done) {
    my $said = $why . word("said");
    unlink "$guard/said";
    eval { restore() };
    # What could not be put back is tried again below.
    syswrite $tell, "refused\n" . substr($said, -4000);
  } else { syswrite $tell, "armed $token\n" }
  close $tell; close $lock;
  my $mine = sub { word("armed") eq "$site $token" };
  for (1 .. $wait) { exit 0 unless $mine->(); sleep 1 }
  $lock = locked(0);
  exit 0 unless $mine->();
  restore(); exit 0;
}
close $tell; close $lock;
my $said = do { local $/; <$hear> };
print defined $said ? $said : "";
exit(defined $said && $said =~ /^armed / ? 0 : 6);

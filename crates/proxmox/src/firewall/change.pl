use strict; use Errno; use Fcntl ":flock"; use POSIX ();
binmode STDIN; binmode STDOUT;
my ($verb, $root, $guard, @words) = @ARGV;
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
sub locked {
  open(my $lock, ">", "$guard/lock") or die "cannot write $guard/lock: $!\n";
  for (1 .. 200) { return $lock if flock($lock, LOCK_EX | LOCK_NB); select(undef, undef, undef, 0.1) }
  die "another change of the firewall holds $guard/lock for 20 seconds\n";
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
sub forget { unlink map { "$guard/$_" } "armed", "old" }
-d $guard or mkdir $guard, 0700 or die "cannot make $guard: $!\n";
my $lock = locked();

if ($verb ne "apply") {
  my ($token) = @words;
  my (undef, $armed) = split / /, word("armed");
  if (defined $armed && $armed eq $token) {
    if ($verb eq "confirm") { put("$guard/confirmed", $token) } else { put(@$_) for reverse kept() }
    forget();
  }
  if (word("confirmed") eq $token) { print "confirmed\n"; exit 0 }
  print "restored\n"; exit 4;
}

my ($site, $wait) = @words;
my ($owner, $before) = split / /, word("armed");
if (defined $owner && $owner ne $site) { print "busy $owner\n"; exit 5 }
my @changes;
while (defined(my $head = <STDIN>)) {
  my ($name, $path, @lengths) = split / /, $head; chomp $lengths[1];
  my @texts = map { my $text; $_ eq "-" ? undef : do { read(STDIN, $text, $_) == $_ or die "cut off\n" if $_; $_ ? $text : "" } } @lengths;
  # What is written here is root's, whoever says so.
  $path =~ m{\A(?:firewall/(?:cluster|[0-9]{1,9})\.fw|nodes/[A-Za-z0-9][A-Za-z0-9-]*/host\.fw)\z} or die "$path is no file of the firewall\n";
  push @changes, [$name, "$root/$path", @texts];
}
sub same { my ($a, $b) = @_; return defined $a ? defined $b && $a eq $b : !defined $b }
my @old = defined $owner ? kept() : ();
for my $change (@changes) {
  my ($name, $path, $old, $new) = @$change;
  my $now = content($path);
  if (!same($now, $old) && !same($now, $new)) { print "modified $name\n"; exit 3 }
  push @old, [$path, $now] unless grep { $_->[0] eq $path } @old;
}
my $token = "$$." . time . "." . int(rand(1000000));
put("$guard/old", join "", map { my ($path, $text) = @$_; defined $text ? "$path " . length($text) . "\n$text" : "$path -\n" } @old);
put("$guard/armed", "$site $token");
my $child = fork; defined $child or die "cannot fork: $!\n";
if (!$child) {
  POSIX::setsid(); close $lock;
  open(STDIN, "<", "/dev/null"); open(STDOUT, ">", "/dev/null"); open(STDERR, ">", "/dev/null");
  my $mine = sub { word("armed") eq "$site $token" };
  for (1 .. $wait) { sleep 1; exit 0 unless $mine->() }
  $lock = locked();
  exit 0 unless $mine->();
  put(@$_) for reverse kept();
  forget(); exit 0;
}
for my $change (@changes) { my (undef, $path, $old, $new) = @$change; put($path, $new) unless same(content($path), $new) }
print "armed $token\n";
